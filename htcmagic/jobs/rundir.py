"""Every file name of a submission in one class; what another session needs to find it again."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from htcmagic import places
from htcmagic.errors import HTCMagicError
from htcmagic.pool.address import Pool

UNIT_SEPARATOR = "\x1f"
"""Between the values of an item: the only separator that HTCondor takes and no value contains."""


@dataclass(frozen=True, slots=True)
class Record:
    """What is kept of a submission.

    Attributes
    ----------
    run : str
        Our own name of it, also the jobs' ``HtcmagicRun`` attribute.
    cluster : int
        0 while it is being sent, or when nobody knows whether it arrived.
    procs : int
        Number of jobs.
    log : str
        Its event log; empty where none can be read from here.
    """

    run: str
    name: str
    pool: Pool
    cluster: int = 0
    procs: int = 0
    created: float = 0.0
    directory: str = ""
    log: str = ""
    spool: bool = False
    columns: tuple[str, ...] = field(default=())
    outputs: tuple[str, str] = ("", "")
    """``output`` and ``error`` as written in the description, macros and all."""
    initialdir: str = ""
    """As written in the description; relative paths start there."""
    held: bool = False
    """Whether the jobs were submitted on hold."""
    environment: str = ""
    """Where the jobs run, if not just anywhere: ``kernel belle2``."""
    given_up: bool = False
    """Nobody is sending it any more: without jobs at a schedd that answers, it never was."""


@dataclass(frozen=True, slots=True)
class RunDir:
    """The folder of one submission."""

    path: Path

    @classmethod
    def create(cls, log_dir: Path | None = None) -> RunDir:
        """Make a new, private folder; its name sorts by time."""
        base = places.private(places.runs_dir())
        for _ in range(100):
            now = time.time_ns() // 1000
            stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now // 1_000_000))
            path = base / f"{stamp}-{now % 1_000_000:06}-{secrets.token_hex(2)}"
            try:
                path.mkdir(mode=0o700)
            except FileExistsError:
                continue
            except OSError as error:
                raise HTCMagicError(
                    f"Cannot write to {base}: {error.strerror}.",
                    hint="Make room, or set HTCMAGIC_HOME elsewhere.",
                ) from None
            made = cls(path)
            made.output_dir.mkdir()
            if log_dir is not None and log_dir != base:
                places.private(log_dir)
            return made
        raise HTCMagicError(f"Cannot make a new folder in {base}.")

    @property
    def run(self) -> str:
        """Our own name of the submission."""
        return self.path.name

    @property
    def record_file(self) -> Path:
        """What it is."""
        return self.path / "cluster.json"

    @property
    def ended_file(self) -> Path:
        """As old as the end of the last job; not there as long as nobody has looked after that."""
        return self.path / "ended"

    @property
    def submit_file(self) -> Path:
        """What was sent; ``condor_submit`` would take it."""
        return self.path / "description.sub"

    @property
    def items_file(self) -> Path:
        """The items, one a line."""
        return self.path / "items"

    @property
    def event_log(self) -> Path:
        """The jobs' event log, where the description names none; on a local disk."""
        base = places.log_dir()
        return self.path / "events.log" if base == places.runs_dir() else base / f"{self.run}.log"

    @property
    def output_dir(self) -> Path:
        """Standard output and error of jobs whose description names no file for them."""
        return self.path / "out"

    def default_output(self, stream: str) -> str:
        """Return the path, with macros, for ``"out"`` or ``"err"``."""
        return f"{self.output_dir}/$(Process).{stream}"

    def write(self, file: Path, text: str, mode: int | None = None) -> None:
        """Write a file whole or not at all.

        Parameters
        ----------
        mode : int, optional
            Its permissions; as the user's other files have them if not given.

        Raises
        ------
        HTCMagicError
            It cannot be written: no space, or no right to.
        """
        new = file.with_name(f".{file.name}.new")
        try:
            new.write_text(text, encoding="utf-8", errors="surrogateescape")
            if mode is not None:
                new.chmod(mode)
            new.replace(file)
        except OSError as error:
            raise HTCMagicError(
                f"Cannot write {file}: {error.strerror}.", hint="Make room, or set HTCMAGIC_HOME elsewhere."
            ) from None

    def save(self, record: Record) -> None:
        """Keep what it is."""
        self.write(self.record_file, json.dumps(asdict(record), indent=1))

    def load(self) -> Record:
        """Read it again.

        Raises
        ------
        OSError, ValueError
            There is nothing, or it is not ours.
        """
        raw = json.loads(self.record_file.read_text(encoding="utf-8", errors="surrogateescape"))
        raw["pool"] = Pool(**raw["pool"])
        raw["columns"] = tuple(raw["columns"])
        raw["outputs"] = tuple(raw["outputs"])
        return Record(**raw)

    def items(self, columns: tuple[str, ...]) -> list[dict[str, str]]:
        """Return the items as they were sent."""
        try:
            lines = self.items_file.read_text(encoding="utf-8", errors="surrogateescape").split("\n")[:-1]
        except OSError:
            return []
        return [dict(zip(columns, line.split(UNIT_SEPARATOR), strict=False)) for line in lines]

    def discard(self) -> None:
        """Delete it: nothing was sent."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self.event_log.parent != self.path:
            self.event_log.unlink(missing_ok=True)


def all_runs() -> Iterator[RunDir]:
    """Yield this user's submissions, newest first."""
    try:
        names = sorted((entry.name for entry in os.scandir(places.runs_dir()) if entry.is_dir()), reverse=True)
    except OSError:
        return
    for name in names:
        run = RunDir(places.runs_dir() / name)
        if run.record_file.exists():
            yield run
