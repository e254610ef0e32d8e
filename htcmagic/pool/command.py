"""HTCondor's own programs, run on a pool for what they print; never deaf, never longer than a time limit."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from htcmagic.errors import HTCMagicError, InstallError, Interrupted
from htcmagic.pool import programs
from htcmagic.pool.address import Pool
from htcmagic.pool.client import ANSWER_S, environment

GET_THEM = "Get HTCondor's programs: htc-pool install"
_PIECE = 1 << 16


@dataclass(frozen=True, slots=True)
class Printed:
    """What a program printed."""

    output: bytes
    words: str
    """What it wrote to standard error."""
    status: int
    cut: bool = False
    """Whether it was stopped at the time limit, so that `output` is only the beginning."""


def path(name: str) -> Path | None:
    """Return where a program is; None if HTCondor's programs are not on this machine."""
    with contextlib.suppress(InstallError):
        found = _found()
        return found.program(name)
    return None


@lru_cache(maxsize=1)
def _found() -> programs.Programs:
    """Return HTCondor's programs, looked for until they are found."""
    found = programs.find()
    if found is None:
        raise InstallError("HTCondor's programs are not on this machine.", hint=GET_THEM)
    return found


def where(pool: Pool) -> list[str]:
    """Return the options that name a pool's schedd to ``condor_q`` and ``condor_history``."""
    return [*(["-name", pool.schedd] if pool.schedd else []), *(["-pool", pool.collector] if pool.collector else [])]


def run(pool: Pool, name: str, words: Sequence[str], *, within_s: float = ANSWER_S, keep: bool = False) -> Printed:
    """Run a program to its end.

    Parameters
    ----------
    pool : Pool
        Whose configuration it uses.
    name : str
        The program, as in ``condor_status``.
    words : sequence of str
        Its arguments.
    within_s : float
        Seconds after which it is killed.
    keep : bool
        Return what was printed until then, in place of an error.

    Raises
    ------
    InstallError
        The program is not on this machine.
    HTCMagicError
        It has not ended in time, or cannot be run.
    Interrupted
        By Ctrl-C.
    """
    program = path(name)
    if program is None:
        raise InstallError(f"{name} is not on this machine.", hint=GET_THEM)
    env = environment(pool)
    with tempfile.TemporaryFile() as said:
        process = _start([str(program), *words], env, said.fileno())
        try:
            pieces, ended = _read(process, within_s)
        except KeyboardInterrupt:
            raise Interrupted(f"Interrupted: {name} had not ended yet.") from None
        finally:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
        said.seek(0)
        spoken = said.read().decode("utf-8", "replace").strip()
    if not ended and not (pieces and keep):
        raise HTCMagicError(
            f"{name} has not answered within {within_s:.0f} s.",
            hint="The daemon it asks may be overloaded, frozen or unreachable; try again later.",
        )
    return Printed(b"".join(pieces), spoken, process.returncode if ended else 0, cut=not ended)


def _start(command: list[str], env: Mapping[str, str] | None, errors_to: int) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors_to,
            env=env,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:  # ValueError: a null byte among the words
        reason = getattr(error, "strerror", None) or str(error)
        raise HTCMagicError(f"{Path(command[0]).name} cannot be run: {reason}.") from None


def _read(process: subprocess.Popen[bytes], within_s: float) -> tuple[list[bytes], bool]:
    """Return what it prints, and whether it ended before the time was over."""
    assert process.stdout is not None  # noqa: S101
    stream = process.stdout.fileno()
    pieces: list[bytes] = []
    deadline = time.monotonic() + within_s
    while (left := deadline - time.monotonic()) > 0:
        if not select.select([stream], [], [], left)[0]:
            break
        piece = os.read(stream, _PIECE)
        if not piece:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(left, 0.1))
                return pieces, True
            break
        pieces.append(piece)
    return pieces, False
