"""What processes use: memory and processor time, from /proc."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

TICKS_S = os.sysconf("SC_CLK_TCK")


def memory(pid: int, what: str = "VmRSS") -> float:
    """Return a process's memory in MiB; `what` may be ``VmHWM``, its largest since :func:`forget`."""
    found = re.search(rf"^{what}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0


def name(pid: int) -> str:
    """Return a process's name; empty if it is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def command(pid: int) -> bytes:
    """Return a process's arguments, each ended by a null; empty if it is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def forget(pid: int) -> None:
    """Have the largest memory of a process counted from now on."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def children(root: int) -> list[int]:
    """Return a process's descendants."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    family = {root}
    while True:
        more = {pid for pid, parent in parents.items() if parent in family} - family
        if not more:
            return sorted(family - {root})
        family |= more


def cpu_seconds(*pids: int) -> float:
    """Return the processor time used so far by processes, their threads included."""
    ticks = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / TICKS_S
