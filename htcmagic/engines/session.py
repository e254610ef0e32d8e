"""One engine under one kernel: its name, its way to the pool, and the promise that nothing of it outlives the kernel.

Engines submit with HTCondor's own programs. A folder of theirs on PATH has a ``condor_submit``, ``condor_rm`` and
``condor_q`` that go to the right pool and mark every job; so the kernel's environment need not name any pool.
"""

from __future__ import annotations

import contextlib
import fcntl
import getpass
import json
import os
import secrets
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from htcmagic import places
from htcmagic.errors import InstallError
from htcmagic.kernels import processes
from htcmagic.pool import command
from htcmagic.pool.address import Pool
from htcmagic.pool.client import environment

ATTRIBUTE = "HtcmagicEngine"
NOTES = "processes"
"""The file of an engine's own processes on this machine: number and start time a line."""
CHILDREN = "children"
"""The like of children of the kernel itself, which are ended when it was killed, and else end in their own way."""
NOTE = 'echo $$ "$(cut -d " " -f 22 /proc/$$/stat)" >>"$0" && exec "$@"'
PROGRAMS = ("condor_submit", "condor_q", "condor_rm", "condor_submit_dag")
APPENDS = frozenset({"condor_submit", "condor_submit_dag"})
FILE = "engine.json"
STOPPED = "stopped"
"""A file of this name in an engine's folder, and it submits nothing more."""
CLUSTERS = "clusters"
"""The file of what it has submitted: a cluster a line."""
REASON = "by its engine"
"""Why jobs were removed, where the engine itself has done it."""
PATIENT = 10
"""How nice the process is that clears away."""
SHIM = """\
#!/bin/bash
# {name} of engine {id}: to its pool, and with its mark.
{guard}{exports}exec {command} "$@"
"""
SUBMIT = """\
#!/bin/bash
# {name} of engine {id}: to its pool, and with its mark; which cluster it became is noted.
{guard}{exports}said=$({command} "$@")
status=$?
printf '%s\\n' "$said"
[[ ! $said =~ submitted\\ to\\ cluster\\ ([0-9]+) ]] || echo "${{BASH_REMATCH[1]}}" >>{clusters}
exit $status
"""
GUARD = """\
if [ -e {file} ]; then
    echo "engine {id} was stopped" >&2
    exit 1
fi
"""


@dataclass(frozen=True, slots=True)
class Session:
    """An engine.

    Attributes
    ----------
    id : str
        ``parsl-3fa2``: the value of :data:`ATTRIBUTE` in its jobs.
    kind : str
        ``parsl``, ``dask`` or ``ipyparallel``.
    label : str
        What the user calls it.
    pool : Pool
        Where it submits.
    folder : Path
        Its files, private.
    kernel : tuple of int
        Process number and start time of the kernel that it belongs to.
    """

    id: str
    kind: str
    label: str
    pool: Pool
    folder: Path
    kernel: tuple[int, int]
    created: float

    @property
    def bin(self) -> Path:
        """The folder to have first on PATH."""
        return self.folder / "bin"

    @property
    def constraint(self) -> str:
        """Which jobs are its own."""
        return f'{ATTRIBUTE} == "{self.id}"'

    def path(self) -> str:
        """Return PATH with HTCondor's programs as this engine is to use them, and this Python's."""
        before = os.environ.get("PATH", os.defpath)
        return os.pathsep.join([str(self.bin), str(Path(sys.executable).parent), before])


def expression(value: Any) -> str:
    """Return a value as a ClassAd expression that stays one line of a submit description."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    text = " ".join(str(value).splitlines()).replace("$(", "$(DOLLAR)(")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def engines_dir() -> Path:
    """Return the folder of all engines: one folder a kernel, in it one an engine."""
    return places.home() / "engines"


def begin(kind: str, label: str, pool: Pool) -> Session:
    """Make an engine's folder, and have it cleared away when this kernel ends, however that comes.

    Raises
    ------
    InstallError
        HTCondor's programs are not on this machine.
    """
    me = processes.look(os.getpid())
    assert me is not None  # noqa: S101 - we are running
    made = f"{kind}-{secrets.token_hex(4)}"
    family = places.private(engines_dir()) / f"{me.pid}-{me.started_ticks}"
    folder = family / made
    session = Session(made, kind, label or made, pool, folder, (me.pid, me.started_ticks), time.time())
    with locked():
        places.private(family)
        places.private(folder)
        places.private(session.bin)
        for name in PROGRAMS:
            _shim(session, name)
        (folder / FILE).write_text(json.dumps({**asdict(session), "folder": str(folder), "host": socket.gethostname()}))
        _lease(family, *session.kernel)
    sweep()
    return session


def read(folder: Path) -> tuple[Session, str] | None:
    """Return the engine of a folder, and the machine it is on; None if there is none."""
    try:
        told = json.loads((folder / FILE).read_text())
        host = str(told.pop("host"))
        told["pool"] = Pool(**told["pool"])
        told["folder"] = folder
        told["kernel"] = tuple(told["kernel"])
        return Session(**told), host
    except (OSError, ValueError, KeyError, TypeError):
        return None


def everything() -> list[tuple[Session, str]]:
    """Return the engines that this user's kernels have begun, and not ended, with the machines they are on."""
    found = engines_dir().glob(f"*/*/{FILE}")
    return [one for file in sorted(found) if (one := read(file.parent)) is not None]


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """Let nobody else begin an engine, nor clear an empty folder away."""
    with (engines_dir() / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def noted(session: Session, command: list[str]) -> list[str]:
    """Return a command that notes its process before it starts: some programs hide their names and environments."""
    return ["/bin/bash", "-c", NOTE, str(session.folder / NOTES), *command]


@contextlib.contextmanager
def noting(session: Session) -> Iterator[None]:
    """Note the processes that this kernel starts meanwhile."""
    before = _children()
    try:
        yield
    finally:
        with contextlib.suppress(OSError), (session.folder / CHILDREN).open("a") as file:
            file.writelines(f"{pid} {started_ticks}\n" for pid, started_ticks in _children() - before)


def _children() -> set[tuple[int, int]]:
    table = processes.everything()
    return {(pid, table[pid].started_ticks) for pid in processes.below(os.getpid(), table)}


def clear(session: Session) -> None:
    """Delete an engine's files; those of the last one tell the lease to end, too."""
    shutil.rmtree(session.folder, ignore_errors=True)


def _shim(session: Session, name: str) -> None:
    program = command.path(name)
    if program is None:
        raise InstallError(f"{name} is not on this machine.", hint=command.GET_THEM)
    ours, theirs = environment(session.pool) or {}, os.environ
    exports = "".join(
        f"export {key}={shlex.quote(value)}\n" for key, value in sorted(ours.items()) if theirs.get(key) != value
    )
    words = command.where(session.pool)
    if name in APPENDS:
        marks = {ATTRIBUTE: session.id, f"{ATTRIBUTE}Kind": session.kind, f"{ATTRIBUTE}Label": session.label}
        marks[f"{ATTRIBUTE}Kernel"] = f"{getpass.getuser()}@{socket.gethostname()}:{session.kernel[0]}"
        for key, value in marks.items():
            words += ["-append", f"+{key} = {expression(value)}"]
    if name == "condor_rm":
        words += ["-reason", REASON]
    guard = GUARD.format(file=shlex.quote(str(session.folder / STOPPED)), id=session.id) if name in APPENDS else ""
    command_line = shlex.join([str(program), *words])
    file = session.bin / name
    template = SUBMIT if name in APPENDS else SHIM
    clusters = shlex.quote(str(session.folder / CLUSTERS))
    file.write_text(
        template.format(name=name, id=session.id, guard=guard, exports=exports, command=command_line, clusters=clusters)
    )
    file.chmod(0o700)


def _lease(family: Path, pid: int, started_ticks: int) -> None:
    """Start the process that clears away after a kernel, unless it runs."""
    file = family / "lease.pid"
    if file.exists():
        running = processes.look(int(file.read_text() or 0))
        if running is not None and running.alive and "htcmagic.engines.lease" in running.words:
            return
    root = str(Path(__file__).parents[2])
    started = subprocess.Popen(
        [sys.executable, "-m", "htcmagic.engines.lease", str(family), str(pid), str(started_ticks)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))},
        cwd="/",
        start_new_session=True,
    )
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, started.pid, PATIENT)  # workers start at the same time, and come first
    file.write_text(str(started.pid))
    _reaped.append(started)


def sweep() -> None:
    """Clear away what was left of kernels whose pool could not be reached when they ended."""
    left = {
        one.folder.parent: one.kernel
        for one, host in everything()
        if host == socket.gethostname() and not _runs(*one.kernel)
    }
    for family, kernel in left.items():
        with locked():
            _lease(family, *kernel)


def _runs(pid: int, started_ticks: int) -> bool:
    found = processes.look(pid)
    return found is not None and found.started_ticks == started_ticks and found.state not in processes.GONE


_reaped: list[subprocess.Popen[bytes]] = []
"""Kept, so that Python does not warn of a child that still runs."""
