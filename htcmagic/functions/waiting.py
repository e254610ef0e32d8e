"""Ctrl-C while something is waited for: once stops the waiting, twice removes the jobs, too."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from htcmagic.errors import HTCMagicError, Interrupted

AGAIN_S = 2.0
"""How soon a second interrupt has to follow the first to remove the jobs."""


@contextlib.contextmanager
def waiting(remove: str | Callable[[], str], cancel: Callable[[], Any]) -> Iterator[None]:
    """Wait inside of this; an interrupt leaves the jobs running and says how to remove them.

    Kernels do not listen to interrupts between cells, so that this stays for :data:`AGAIN_S` to hear the second.

    Parameters
    ----------
    remove : str or callable
        The line that removes the jobs, as a user types it: ``%condor_rm 12``; or what returns it.
    cancel : callable
        Takes nothing and removes them.

    Raises
    ------
    Interrupted
        It was interrupted; the text says what became of the jobs.
    """
    try:
        yield
    except KeyboardInterrupt:
        line = remove if isinstance(remove, str) else remove()
        again = _again()
        if not again:
            raise Interrupted(f"Stopped waiting; the jobs go on.\nTo remove them: {line}") from None
        raise Interrupted(_removed(line, cancel)) from None


def _again() -> bool:
    """Tell the user, and return whether they interrupt again."""
    deadline = time.monotonic() + AGAIN_S
    try:
        sys.stderr.write(f"Stopped waiting. To remove the jobs, too: interrupt again within {AGAIN_S:g} s.\n")
        sys.stderr.flush()
        while (left_s := deadline - time.monotonic()) > 0:
            time.sleep(left_s)
    except KeyboardInterrupt:
        return True
    return False


def _removed(remove: str, cancel: Callable[[], Any]) -> str:
    try:
        cancel()
    except KeyboardInterrupt:
        return f"Stopped removing the jobs; some may go on.\nTo remove them: {remove}"
    except HTCMagicError as error:
        return f"The jobs could not be removed: {error.message}\nTo try it again: {remove}"
    return "Stopped waiting, and removed the jobs."
