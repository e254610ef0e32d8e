"""Kernels whose server is gone: found by what their processes show, and ended if the user says so.

A kernel is a session of its own, as Jupyter starts it: the wrapper or runtime that leads it, python, and what a
container needs. It is an orphan only if all of this holds: a process of it shows a kernel's command line or belongs to
a container, the server named by ``JPY_PARENT_PID`` does not run (looked up in *its* PID namespace, and older than the
kernel), its leader has been handed to an init process, and nobody is connected to it. Anything in doubt is left alone.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from htcmagic.kernels import kernelspec, processes
from htcmagic.kernels.foreign import container_call
from htcmagic.kernels.processes import Process

CONNECTION = re.compile(r"(?:^|[\s=])(/[^\s=]*\.json)\b")
LONGEST_PATH = 4096
ESTABLISHED = "01"
"""In ``/proc/net/tcp``."""
RUNTIMES = ("apptainer", "singularity", "starter", "starter-suid", "appinit", "sinit")
HELPERS = ("squashfuse", "squashfuse_ll", "fuse2fs", "fuse-overlayfs", "gocryptfs", "conmon")
INITS = ("systemd", "init", "tini", "dumb-init", "docker-init", "catatonit", "s6-svscan", "runit")


@dataclass(frozen=True, slots=True)
class Orphan:
    """A kernel without a server.

    Attributes
    ----------
    kernel : str
        Its kernel's name, ``?`` where that cannot be told.
    server : int
        The pid its server had; 0 where that is not known.
    connection_file : str
        Where it was told how to be reached; empty for what is left of a kernel that has ended.
    members : tuple of Process
        Its processes, oldest first.
    """

    kernel: str
    server: int
    connection_file: str
    members: tuple[Process, ...]

    @property
    def pid(self) -> int:
        """The number of its oldest process."""
        return self.members[0].pid

    @property
    def age_s(self) -> float:
        """How long ago it was started."""
        return max(0.0, self.members[0].age_s)

    @property
    def memory_bytes(self) -> int:
        """What its processes hold in memory."""
        return sum(one.memory_bytes for one in self.members)

    def as_json(self) -> dict[str, Any]:
        """Return it for machines."""
        return {
            "kernel": self.kernel,
            "pid": self.pid,
            "server_pid": self.server,
            "age_s": round(self.age_s),
            "memory_bytes": self.memory_bytes,
            "connection_file": self.connection_file,
            "processes": [{"pid": one.pid, "command": " ".join(one.words) or one.name} for one in self.members],
        }


def find(user: int | None = None) -> list[Orphan]:
    """Return the orphaned kernels of a user, oldest first.

    Parameters
    ----------
    user : int, optional
        The user's number; our own if not given.
    """
    mine = os.getuid() if user is None else user
    table = processes.everything()
    sessions: dict[int, list[Process]] = {}
    for one in table.values():
        if one.user == mine:
            sessions.setdefault(one.session, []).append(one)
    own = {one.session for one in (processes.look(os.getpid()),) if one is not None}
    found = [_orphan(members, table) for session, members in sessions.items() if session not in own]
    return sorted((one for one in found if one is not None), key=lambda one: one.members[0].started_ticks)


def end(orphans: Iterable[Orphan]) -> list[Process]:
    """End orphans, after looking again whether each still is one; the processes that would not go."""
    wanted = [one.members for one in orphans]
    now = {(one.pid, one.started_ticks) for orphan in find() for one in orphan.members}
    return processes.end([one for members in wanted for one in members if (one.pid, one.started_ticks) in now])


def _orphan(session: list[Process], table: dict[int, Process]) -> Orphan | None:
    members = sorted((one for one in session if _kind(one)), key=lambda one: one.started_ticks)
    if not members:
        return None
    if all(_kind(one) == "helper" for one in members):
        left = (
            len(session) == len(members)
            and _handed_over(members[0], session, table)
            and not _mounts_used(members, table)
        )
        return Orphan("?", 0, "", tuple(members)) if left else None
    leader = min(session, key=lambda one: (one.pid != one.session, one.started_ticks))
    environments = [one.environment for one in dict.fromkeys((leader, *members))]
    number = next((said for one in environments if (said := one.get("JPY_PARENT_PID"))), "")
    if not number.isdecimal() or int(number) <= 1:  # not started by a Jupyter server on this machine
        return None
    if _server_runs(int(number), leader, table) or not _handed_over(leader, session, table):
        return None
    connection = next((path for one in members if (path := _connection_file(one.words))), "")
    if connection and _in_use(Path(connection), session):
        return None
    return Orphan(_name(connection, environments, members), int(number), connection, tuple(members))


def _kind(one: Process) -> str:
    """Return whether a process is a ``kernel``, a container's ``runtime`` or ``helper``; empty for neither."""
    words = one.words
    if one.name in HELPERS:
        return "helper"
    if one.name in RUNTIMES or (words and words[0].startswith(("Apptainer runtime", "Singularity runtime"))):
        return "runtime"
    return "kernel" if words and _connection_file(words) else ""


def _connection_file(words: list[str]) -> str:
    """Return the connection file that a command line names; empty for a program that only has some ``.json``."""
    sure = any("ipykernel" in word for word in words)
    for word in reversed(words):
        found = CONNECTION.search(word) if len(word) < LONGEST_PATH else None
        if found is not None and (sure or _is_connection_file(Path(found[1]))):
            return found[1]
    return ""


def _is_connection_file(path: Path) -> bool:
    return bool(_content(path)) or (not path.exists() and re.fullmatch(r"kernel-[\w-]+\.json", path.name) is not None)


def _server_runs(number: int, kernel: Process, table: dict[int, Process]) -> bool:
    """Return whether the process that `kernel` calls `number` runs and is older than it; True in doubt."""
    if len(kernel.numbers) == 1:
        server = table.get(number)
        return server is not None and server.started_ticks <= kernel.started_ticks
    namespace = kernel.namespace
    if not namespace:
        return True
    return any(one.namespace == namespace and one.numbers[-1] == number for one in table.values())


def _handed_over(top: Process, session: list[Process], table: dict[int, Process]) -> bool:
    """Return whether the parent is an init process, or the leader has ended and left its children to one."""
    parent = table.get(top.parent)
    while parent is not None and parent in session:
        parent = table.get(parent.parent)
    return parent is None or parent.numbers[-1] == 1 or parent.name in INITS


def _mounts_used(helpers: list[Process], table: dict[int, Process]) -> bool:
    """Return whether another process sees what these have mounted; True in doubt."""
    devices = set().union(*(_mounts(one) for one in helpers))
    others = (one for one in table.values() if one.name not in HELPERS)
    return not devices or any(devices & _mounts(one) for one in others)


def _mounts(one: Process) -> set[str]:
    """Return the numbers of the FUSE file systems that a process sees."""
    try:
        lines = Path(f"/proc/{one.pid}/mountinfo").read_text(errors="replace").splitlines()
    except OSError:
        return set()
    return {line.split()[2] for line in lines if " - fuse" in line}


def _in_use(connection_file: Path, session: list[Process]) -> bool:
    """Return whether somebody else is connected to the kernel of this connection file."""
    try:
        told = _content(connection_file)
        ports = {int(told[name]) for name in ("shell_port", "iopub_port", "control_port")}
        lines = [line for name in ("tcp", "tcp6") for line in Path("/proc/net", name).read_text().splitlines()[1:]]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    established = [words for words in map(str.split, lines) if words[3] == ESTABLISHED]
    clients = {words[9] for words in established if int(words[2].rpartition(":")[2], 16) in ports}
    return bool(clients - {socket for one in session for socket in one.sockets})  # ipykernel calls itself


def _name(connection: str, environments: list[Mapping[str, str]], members: Collection[Process]) -> str:
    """Return the name of the kernel: the server noted it, or it is known by its command, or ours say it."""
    noted = _content(Path(connection)).get("kernel_name") if connection else ""
    if noted:
        return str(noted)
    shown = [one.words for one in members]
    for kernel in kernelspec.kernels():
        call = container_call(kernel.argv) if kernel.argv else None
        inside = kernel.argv if call is None else call.inside
        runs = call is None or any(words[:1] and words[0].endswith(f": {Path(call.image).name}") for words in shown)
        if runs and any(_started_by(inside, words) for words in shown):
            return kernel.name
    return next((said for one in environments if (said := one.get("HTCMAGIC_KERNEL"))), "?")


def _content(connection_file: Path) -> dict[str, Any]:
    """Return what a connection file says; nothing if it is gone, or none."""
    try:
        told = json.loads(connection_file.read_text())
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) and {"shell_port", "hb_port", "key"} <= set(told) else {}


def _started_by(argv: list[str], words: list[str]) -> bool:
    """Return whether a command line is this ``argv`` with a connection file, `#!` interpreter in front or not."""
    if not argv or not words or "{connection_file}" not in " ".join(argv):
        return False
    connection = _connection_file(words)
    wanted = [word.replace("{connection_file}", connection) for word in argv]
    program = Path(wanted[0]).name
    shown = words[-len(wanted) :]
    return shown[1:] == wanted[1:] and bool(shown) and Path(shown[0]).name == program
