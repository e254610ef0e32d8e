"""Processes of this machine as ``/proc`` shows them, and ending one without ever hitting another of the same number."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
GONE = frozenset("ZXx")


@dataclass(frozen=True, slots=True)
class Process:
    """One process at one moment.

    Attributes
    ----------
    pid, parent, group, session : int
        As in ``/proc/PID/stat``.
    started_ticks : int
        Clock ticks from the machine's start to its own; with `pid` it identifies a process for good.
    state : str
        ``S``, ``R``, ``Z`` …
    name : str
        Of the program, 15 characters at most.
    """

    pid: int
    parent: int
    group: int
    session: int
    started_ticks: int
    state: str
    name: str

    @property
    def words(self) -> list[str]:
        """Its command line."""
        with contextlib.suppress(OSError):
            text = (PROC / str(self.pid) / "cmdline").read_bytes()
            return [os.fsdecode(word) for word in text.removesuffix(b"\0").split(b"\0")] if text else []
        return []

    @property
    def environment(self) -> Mapping[str, str]:
        """What it was started with; empty where we may not know."""
        with contextlib.suppress(OSError):
            pairs = (PROC / str(self.pid) / "environ").read_bytes().split(b"\0")
            return dict(os.fsdecode(pair).split("=", 1) for pair in pairs if b"=" in pair)
        return {}

    @property
    def user(self) -> int:
        """The number of the user it belongs to; -1 if it has ended."""
        with contextlib.suppress(OSError):
            return (PROC / str(self.pid)).stat().st_uid
        return -1

    @property
    def namespace(self) -> str:
        """Its PID namespace; empty where we may not know."""
        with contextlib.suppress(OSError):
            return str((PROC / str(self.pid) / "ns" / "pid").readlink())
        return ""

    @property
    def numbers(self) -> list[int]:
        """Its pid in our PID namespace and in those within, outermost first."""
        with contextlib.suppress(OSError):
            for line in (PROC / str(self.pid) / "status").read_text(errors="replace").splitlines():
                if line.startswith("NSpid:"):
                    return [int(number) for number in line.split()[1:]]
        return [self.pid]

    @property
    def sockets(self) -> set[str]:
        """The inodes of its open sockets."""
        found = set()
        with contextlib.suppress(OSError):
            for handle in (PROC / str(self.pid) / "fd").iterdir():
                with contextlib.suppress(OSError):
                    target = str(handle.readlink())
                    if target.startswith("socket:["):
                        found.add(target[8:-1])
        return found

    @property
    def memory_bytes(self) -> int:
        """What it holds in memory."""
        with contextlib.suppress(OSError, IndexError):
            return int((PROC / str(self.pid) / "statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
        return 0

    @property
    def age_s(self) -> float:
        """How long ago it was started."""
        return time.clock_gettime(time.CLOCK_BOOTTIME) - self.started_ticks / os.sysconf("SC_CLK_TCK")

    @property
    def alive(self) -> bool:
        """Whether it, and not another of its number, still runs."""
        now = look(self.pid)
        return now is not None and now.started_ticks == self.started_ticks and now.state not in GONE

    def signal(self, number: int) -> bool:
        """Send it a signal; whether it was there to get it."""
        try:
            handle = os.pidfd_open(self.pid)
        except OSError:
            return False
        try:
            if not self.alive:  # the number may be another's by now; the handle cannot change hands any more
                return False
            signal.pidfd_send_signal(handle, number)
        except OSError:
            return False
        finally:
            os.close(handle)
        return True


def look(pid: int) -> Process | None:
    """Return the process of this number, if there is one."""
    try:
        text = (PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    head, _, tail = text.rpartition(")")
    fields = tail.split()
    return Process(
        pid=pid,
        parent=int(fields[1]),
        group=int(fields[2]),
        session=int(fields[3]),
        started_ticks=int(fields[19]),
        state=fields[0],
        name=head.partition("(")[2],
    )


def everything() -> dict[int, Process]:
    """Return every running process by its number."""
    return {one.pid: one for one in _each() if one.state not in GONE}


def _each() -> Iterator[Process]:
    for entry in os.scandir(PROC):
        if entry.name.isdigit():
            found = look(int(entry.name))
            if found is not None:
                yield found


def below(pid: int, table: Mapping[int, Process]) -> set[int]:
    """Return the numbers of the process's descendants."""
    children: dict[int, list[int]] = {}
    for one in table.values():
        children.setdefault(one.parent, []).append(one.pid)
    found: set[int] = set()
    open_ends = [pid]
    while open_ends:
        for child in children.get(open_ends.pop(), ()):
            if child not in found:
                found.add(child)
                open_ends.append(child)
    return found


def wait_gone(processes: Collection[Process], limit_s: float) -> list[Process]:
    """Wait until these have ended; those that have not when the time is over."""
    deadline = time.monotonic() + limit_s
    left = [one for one in processes if one.alive]
    while left and time.monotonic() < deadline:
        time.sleep(0.02)
        left = [one for one in left if one.alive]
    return left


def end(processes: Collection[Process], patience_s: float = 2.0) -> list[Process]:
    """End these: politely, then not; those that are still there."""
    for one in processes:
        one.signal(signal.SIGTERM)
    left = wait_gone(processes, patience_s)
    for one in left:
        one.signal(signal.SIGKILL)
    return wait_gone(left, patience_s)
