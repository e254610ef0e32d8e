"""Python jobs to the pool: a script around the bundle, sent like every other submission."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from htcmagic.errors import HTCMagicError
from htcmagic.functions.bundle import bundle
from htcmagic.functions.payload import Function
from htcmagic.functions.place import Place
from htcmagic.jobs import script, sending, submission
from htcmagic.jobs.cluster import Cluster, attach
from htcmagic.jobs.rundir import RunDir
from htcmagic.jobs.submission import Options
from htcmagic.pool.client import Client

DEFAULTS = {"request_cpus": "1", "request_memory": "1GB", "request_disk": "1GB"}
"""What a Python job asks for where nobody says otherwise."""
SCRIPT = """\
#!/bin/bash
# Python of htcmagic's: {about}
export PATH
htc_home={home}
[ ! -f "$_CONDOR_SCRATCH_DIR/{bundle}" ] || htc_home=$_CONDOR_SCRATCH_DIR
{empty}
{python}
if ! command -v "$htc_python" >/dev/null 2>&1; then
    printf 'htcmagic: there is no %s on %s\\n' "$htc_python" "$(hostname)" >&2
    exit 97
fi
exec "$htc_python" "$htc_home/{bundle}" {mode} {folder} {arguments}
"""
EMPTY = '[ "$htc_home" != "$_CONDOR_SCRATCH_DIR" ] || : >"$htc_home/$chunk.result"'
"""A file that is to come home but is not there would hold the job, and hide how it ended."""


@dataclass(frozen=True, slots=True)
class Folders:
    """The files of Python work in a run's folder."""

    path: Path

    @property
    def functions(self) -> Path:
        """What is called: a record each, named by its digest."""
        return self.path / "functions"

    @property
    def chunks(self) -> Path:
        """Tasks of jobs that have their own: a file each."""
        return self.path / "chunks"

    @property
    def results(self) -> Path:
        """Results; any number of them a file."""
        return self.path / "results"

    def files(self, task: int) -> Path:
        """Output files of one task."""
        return self.path / "files" / str(task)

    def make(self) -> Folders:
        """Make them."""
        for folder in (self.functions, self.chunks, self.results):
            folder.mkdir(mode=0o700, exist_ok=True)
        return self

    def keep(self, function: Function) -> None:
        """Write a function's file."""
        file = self.functions / function.name
        if not file.exists():
            new = file.with_name(f".{function.name}.new")
            new.write_bytes(function.data)
            new.replace(file)


@dataclass(frozen=True, slots=True)
class Work:
    """What Python jobs are to do.

    Attributes
    ----------
    mode : str
        ``static``: each job has a file of tasks, named by its item; or ``pull``.
    items : sequence of str
        Static: the file's name below ``chunks`` for each job. Pull: a name for each worker.
    functions : sequence of Function
        Static: what the tasks call.
    resources : mapping
        Submit commands that win over :data:`DEFAULTS`.
    inputs : sequence of str
        Files that go along.
    folder : Path or None
        Where the tasks are, if not in the run's own folder: of workers that are sent later.
    """

    mode: str
    items: Sequence[str]
    place: Place
    name: str = ""
    functions: Sequence[Function] = ()
    resources: Mapping[str, str] = field(default_factory=dict)
    inputs: Sequence[str] = ()
    directory: str = ""
    hold: bool = False
    max_idle: int | None = None
    folder: Path | None = None


def prepare(work: Work, client: Client, run_dir: RunDir) -> submission.Submission:
    """Write what the jobs need into the run's folder and return what is to be sent.

    Raises
    ------
    CellError, PoolError
        A setting or an input cannot be used; nobody answers.
    """
    folders = Folders(run_dir.path)
    with writing(folders.path):
        folders.make()
        for function in work.functions:
            folders.keep(function)
        here = _runner(folders)
    settings = {**DEFAULTS, **_transfers(work, folders, here), **work.resources}
    text = SCRIPT.format(
        about=work.place.about,
        empty=EMPTY if work.mode == "static" else "",
        python=work.place.shell(),
        home=shlex.quote(str(folders.path)),
        folder=shlex.quote(str(work.folder or folders.path)),
        bundle=here.name,
        mode=work.mode,
        arguments='"$chunk"',
    )
    options = Options(
        over=[{"chunk": item} for item in work.items],
        over_name="items",
        settings=settings,
        name=work.name,
        directory=work.directory,
        hold=work.hold,
        max_idle=work.max_idle,
    )
    job = script.plan(text, options, work.place.environment, folders.path, here=client.pool.personal)
    for name, content in job.files.items():
        run_dir.write(run_dir.path / name, content, mode=0o700)
    return submission.prepare(job.text, job.options, {}, client, run_dir)


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Say in words that nothing can be written to a run's folder."""
    try:
        yield
    except OSError as error:
        raise HTCMagicError(
            f"Cannot write {error.filename or folder}: {error.strerror}.",
            hint="Make room, or set HTCMAGIC_HOME elsewhere.",
        ) from None


def _runner(folders: Folders) -> Path:
    runner = bundle()
    here = folders.path / runner.name
    if not here.exists():
        try:
            here.hardlink_to(runner)
        except OSError:
            here.write_bytes(runner.read_bytes())
    return here


def send(work: Work, client: Client, run_dir: RunDir) -> Cluster:
    """Prepare and send; on failure nothing is left of it."""
    try:
        prepared = prepare(work, client, run_dir)
    except BaseException:
        run_dir.discard()
        raise
    sent = sending.send(prepared, client, run_dir)
    return attach(run_dir, sent.record)


def _transfers(work: Work, folders: Folders, runner: Path) -> dict[str, str]:
    """Return the submit commands for files: copied where the worker does not see them."""
    files = [str(runner), *work.inputs]
    in_image = work.place.environment is not None and work.place.environment.container_image is not None
    copied = bool(work.inputs) or in_image
    commands = {"should_transfer_files": "YES" if copied else "IF_NEEDED", "when_to_transfer_output": "ON_EXIT"}
    commands["+WantIOProxy"] = "true"  # for htcmagic.progress, and for warm workers' files
    if work.place.archive is not None:
        files.append(str(work.place.archive))
    if work.mode == "static":
        files += [str(folders.functions / function.name) for function in work.functions]
        files.append(f"{folders.chunks}/$(chunk)")
        commands["transfer_output_files"] = "$(chunk).result"
        commands["transfer_output_remaps"] = f'"$(chunk).result = {folders.results}/$(chunk)"'
    else:
        commands["transfer_output_files"] = '""'
    commands["transfer_input_files"] = ", ".join(files)
    return commands
