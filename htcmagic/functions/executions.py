"""The executors of this process: what the notebook calls them, and their end with it."""

from __future__ import annotations

import atexit
import contextlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from htcmagic.functions.executing import Execution

live: set[Execution] = set()


def name(wanted: object) -> str:
    """Return what the notebook calls an object; empty if it has no name there."""
    import __main__  # noqa: PLC0415 - the notebook's own names

    found = [key for key, value in vars(__main__).copy().items() if value is wanted and not key.startswith("_")]
    return found[0] if found and wanted is not None else ""


def detached(name: str) -> Execution | None:
    """Return what this session has of a detached executor."""
    return next((one for one in live if one.home.detach and one.plan.name == name), None)


_registered = False


def at_exit() -> None:
    """See to it that this session leaves no job behind."""
    global _registered  # noqa: PLW0603
    if not _registered:
        _registered = True
        atexit.register(_leave, os.getpid())


def _leave(pid: int) -> None:
    """Leave no job behind but those that are to go on."""
    if os.getpid() != pid:
        return
    for one in list(live):
        with contextlib.suppress(Exception):
            if one.home.detach:
                one.release()
            else:
                one.end()
