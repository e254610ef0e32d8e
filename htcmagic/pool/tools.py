"""The one way in which installing runs other programs."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from htcmagic.errors import InstallError

FULL_DISK = "Free some space, or set HTCMAGIC_HOME to a folder on a larger disk."
_FULL = re.compile(r"no space left|disk quota exceeded", re.IGNORECASE)
_T = TypeVar("_T")


def run(
    what: str,
    *command: str | Path,
    hint: str = "",
    timeout: float = 300,
    cwd: Path | None = None,
) -> str:
    """Run a program to its end and return what it printed.

    Parameters
    ----------
    what : str
        What it does, for the message: "Unpacking x.deb".
    *command : str or Path
        The program and its arguments.
    hint : str, optional
        What the user can do when it fails.
    timeout : float, optional
        Seconds after which it is killed.
    cwd : Path, optional
        Where it runs.

    Raises
    ------
    InstallError
        It is not there, ended badly, or took too long. The message ends with what it said last.
    """
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            cwd=cwd,
            env=os.environ | {"LC_ALL": "C.UTF-8"},
            check=False,
        )
    except OSError as error:
        raise InstallError(f"{what} failed: {command[0]}: {error.strerror}.", hint=hint) from None
    except subprocess.TimeoutExpired:
        raise InstallError(f"{what} was given up after {timeout:.0f} s.", hint=hint) from None
    if done.returncode:
        said = done.stderr or done.stdout
        if _FULL.search(said):
            raise InstallError(f"{what} failed: the disk, or your share of it, is full.", hint=FULL_DISK)
        raise InstallError(f"{what} failed: {_tail(said)}", hint=hint)
    return done.stdout


def _tail(text: str) -> str:
    """Return the line that tells most: apt's first error, or the last line of anything else."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line.removeprefix("E: ") for line in lines if line.startswith("E: ")]
    return (errors[0] if errors else lines[-1] if lines else "it said nothing")[:300]


def spread(work: Callable[[_T], object], items: Iterable[_T]) -> None:
    """Call `work` with each item, as many at a time as there are processors.

    Parameters
    ----------
    work : Callable
        What is done with an item; it mostly waits for a program.
    items : Iterable
        The items.
    """
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for _ in pool.map(work, items):
            pass
