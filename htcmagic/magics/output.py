"""What magics say beside what they return: one line at a time, on standard output of their own cell."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from contextvars import ContextVar

_kept: ContextVar[list[str] | None] = ContextVar("kept", default=None)


def say(line: str) -> None:
    """Show one line."""
    lines = _kept.get()
    if lines is not None:
        lines.append(line)
        return
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


@contextlib.contextmanager
def kept() -> Iterator[list[str]]:
    """Keep what is said in this thread, for a magic that no cell runs."""
    lines: list[str] = []
    before = _kept.set(lines)
    try:
        yield lines
    finally:
        _kept.reset(before)
