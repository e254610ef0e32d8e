"""Who runs a personal pool's daemons, and in which namespaces."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from htcmagic.errors import PoolError

CONTAINED = ("--pid", "--fork", "--kill-child", "--mount-proc")
"""Options of unshare(1) for a namespace of processes in which nothing outlives the first one."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who runs the daemons, and by which prefix command.

    Attributes
    ----------
    name : str
        The user as HTCondor's FS authentication names them.
    prefix : tuple of str
        Words before ``condor_master``; empty where nothing is needed, or allowed.
    """

    name: str
    prefix: tuple[str, ...]


def identity() -> Identity:
    """Decide who runs the daemons.

    HTCondor refuses jobs of root. In a user namespace root outside is somebody ordinary inside, and stays the
    only one whom the daemons see as that somebody: every other user of the machine shows up as the overflow id.
    Who has that very id is therefore given no namespace.

    Raises
    ------
    PoolError
        There is nobody as whom HTCondor could run here.
    """
    uid, overflow = os.getuid(), _overflow_uid()
    if uid != 0:
        try:
            name = pwd.getpwuid(uid).pw_name
        except KeyError:
            raise PoolError(
                f"User id {uid} has no name on this machine, so HTCondor cannot know you.",
                hint="Add a line for it to /etc/passwd.",
            ) from None
        return Identity(name, () if uid == overflow else _namespace(("--map-current-user",), CONTAINED))
    ordinary = [entry for entry in pwd.getpwall() if entry.pw_uid not in {0, overflow}]
    if not ordinary:
        raise PoolError(
            "HTCondor runs no jobs of root, and /etc/passwd names nobody else as whom to run.",
            hint="Add an ordinary user: useradd condor",
        )
    somebody = min(ordinary, key=lambda entry: (entry.pw_uid < 1000, entry.pw_uid))
    mapping = (f"--map-user={somebody.pw_uid}", f"--map-group={somebody.pw_gid}")
    prefix = _namespace(mapping, CONTAINED) or _namespace(mapping, ())  # masked /proc: no namespace of processes
    if not prefix and shutil.which("unshare") is None:
        raise PoolError(
            "HTCondor runs no jobs of root, and unshare, which works around that, is not on PATH.",
            hint="Be an ordinary user, or install it: apt-get install util-linux",
        )
    if not prefix:
        raise PoolError(
            "HTCondor runs no jobs of root, and this machine allows no user namespaces to work around that.",
            hint="Be an ordinary user, or allow user namespaces (in Docker: --security-opt seccomp=unconfined).",
        )
    return Identity(somebody.pw_name, prefix)


def _namespace(mapping: tuple[str, ...], more: tuple[str, ...]) -> tuple[str, ...]:
    """Return the command that puts a program into namespaces; empty where it is not there or not allowed."""
    unshare = shutil.which("unshare")
    if unshare is None:
        return ()
    prefix = (unshare, "--user", *mapping, *more)
    tried = subprocess.run([*prefix, "/bin/true"], capture_output=True, check=False)
    return prefix if tried.returncode == 0 else ()


def _overflow_uid() -> int:
    try:
        return int(Path("/proc/sys/kernel/overflowuid").read_text())
    except (OSError, ValueError):
        return 65534
