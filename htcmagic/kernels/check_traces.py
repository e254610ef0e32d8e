"""Everything a kernel under test has started or written: to see whether it is gone, and to end it if not."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from htcmagic import places
from htcmagic.kernels import processes
from htcmagic.kernels.processes import Process

MARK = "HTCMAGIC_CHECK"
"""A variable that a kernel under test, and whatever it starts, inherits."""
KILL_LIMIT_S = 4.0


@dataclass(slots=True)
class Traces:
    """The processes and files of one check.

    Attributes
    ----------
    runtime : Path
        Jupyter's folder of connection files.
    """

    runtime: Path
    token: str = field(default_factory=lambda: secrets.token_hex(8))
    leaders: list[int] = field(default_factory=list)
    seen: dict[int, Process] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """Our own environment, with the mark."""
        return {**os.environ, MARK: self.token}

    def connection_file(self, number: int) -> str:
        """Return where the connection file of one start is written, named as Jupyter's servers do."""
        self.runtime.mkdir(mode=0o700, parents=True, exist_ok=True)
        return str(self.runtime / f"kernel-{self.token}-{number}.json")

    def note(self, leader: int) -> None:
        """Remember the process that a server has started as the kernel."""
        if leader:
            self.leaders.append(leader)

    def processes(self) -> list[Process]:
        """Return all that runs by now because of this check, but for ourselves."""
        table = processes.everything()
        related = {pid for leader in self.leaders for pid in processes.below(leader, table)}
        for one in table.values():
            if one.pid == os.getpid():
                continue
            known = self.seen.get(one.pid)
            if (
                (known is not None and known.started_ticks == one.started_ticks)
                or one.pid in related
                or one.session in self.leaders
                or one.environment.get(MARK) == self.token
                or any(self.token in word for word in one.words)
            ):
                self.seen[one.pid] = one
        return [one for one in self.seen.values() if one.alive]

    def wait_gone(self, limit_s: float = KILL_LIMIT_S) -> list[Process]:
        """Wait until nothing of it runs any more; what still does when the time is over."""
        deadline = time.monotonic() + limit_s
        left = self.processes()
        while left and time.monotonic() < deadline:
            processes.wait_gone(left, max(0.0, deadline - time.monotonic()))
            left = self.processes()
        return left

    def files(self) -> list[Path]:
        """Return the files it has left, connection files and states of set-ups."""
        bases = {Path(tempfile.gettempdir()), Path("/tmp"), places.home() / "logs"}  # noqa: S108
        if os.environ.get("XDG_RUNTIME_DIR"):
            bases.add(Path(os.environ["XDG_RUNTIME_DIR"]))
        found = set(_listed(self.runtime, f"*{self.token}*"))
        for base in bases:
            for leader in self.leaders:
                found.update(_listed(base, f"htcmagic.{leader}.*"))
        return sorted(found)

    def clear(self) -> None:
        """End and delete whatever is left."""
        processes.end(self.processes())
        for file in self.files():
            with contextlib.suppress(OSError):
                file.unlink()


def _listed(folder: Path, pattern: str) -> list[Path]:
    with contextlib.suppress(OSError):
        return list(folder.glob(pattern))
    return []


class Became:
    """Watches a process until it has become a python: where a wrapper sets up first, that is how long it took."""

    def __init__(self, pid: int, begun: float) -> None:
        self._pid, self._begun = pid, begun
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.seconds: float | None = None
        self._thread.start()

    def _watch(self) -> None:
        known = processes.look(self._pid)
        was_python = False
        for first in _first_then_false():
            if known is None or not known.alive:
                return
            words = known.words
            is_python = bool(words) and Path(words[0]).name.startswith(("python", "pypy"))
            if is_python and not was_python and not first:
                self.seconds = time.monotonic() - self._begun
            was_python = is_python
            if (first and is_python) or self._ended.wait(0.005):
                return

    def stop(self) -> float | None:
        """Stop watching; seconds until it was a python, None if it was one from the start or never became one."""
        self._ended.set()
        self._thread.join()
        return self.seconds


def _first_then_false() -> Iterator[bool]:
    yield True
    while True:
        yield False
