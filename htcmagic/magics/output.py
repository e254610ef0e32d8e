"""What magics say beside what they return: one line at a time, on standard output of their own cell."""

from __future__ import annotations

import sys


def say(line: str) -> None:
    """Show one line."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
