"""Run a command as an ordinary user of this machine, who sees the checkout, the interpreter and the programs."""

from __future__ import annotations

import contextlib
import os
import pwd
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from htcmagic.pool import programs

CHECKOUT = Path(__file__).parents[1]
NOBODY = 65534


def anybody() -> pwd.struct_passwd:
    """Return an ordinary user of this machine who is not the overflow user; skip the test without root's rights."""
    if os.getuid() != 0:
        pytest.skip("needs root, to become somebody else")
    known = [entry for entry in pwd.getpwall() if entry.pw_uid not in {0, NOBODY}]
    return max(known, key=lambda entry: (entry.pw_uid >= 1000, -entry.pw_uid))


def run_as(
    who: pwd.struct_passwd, command: list[str], home: Path, timeout: float = 120, **more: str
) -> subprocess.CompletedProcess[str]:
    """Run a command as `who` in a clean environment with HOME at `home`; both streams come back as one."""
    env = {"HOME": str(home), "USER": who.pw_name, "PATH": os.defpath, "LANG": "C.UTF-8", **more}
    return subprocess.run(
        [*_prefix(who), *(f"{name}={value}" for name, value in env.items()), *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )


@contextlib.contextmanager
def home_of(who: pwd.struct_passwd) -> Iterator[Path]:
    """Give an empty home folder that belongs to `who`; at its end nothing runs that was started there."""
    home = Path(tempfile.mkdtemp(prefix="htcmagic-test-", dir="/var/tmp"))
    os.chown(home, who.pw_uid, who.pw_gid)
    try:
        yield home
    finally:
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and f"HOME={home}\0".encode() in (entry / "environ").read_bytes():
                    os.kill(int(entry.name), signal.SIGKILL)
        shutil.rmtree(home)


def run_tests(module: Path, which: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run tests as an ordinary user with a home folder of their own."""
    who = anybody()
    with home_of(who) as home:
        words = ["-q", "-s", "-p", "no:cacheprovider", "--basetemp", f"{home}/t", "-k", which]
        command = [sys.executable, "-m", "pytest", str(module), *words]
        return run_as(who, command, home, timeout=560, HTCMAGIC_PROGRAMS=programs_seen(), **more)


def _prefix(who: pwd.struct_passwd) -> list[str]:
    """Return the words before a command that `who` is to run in a clean environment."""
    found = programs.find()
    assert found is not None
    ids = [f"--reuid={who.pw_uid}", f"--regid={who.pw_gid}", "--clear-groups", "--no-new-privs"]
    return [*uncovered(found.release_dir.parent), "env", "--chdir=/", "setpriv", *ids, "env", "-i"]


def uncovered(*more: Path) -> list[str]:
    """Return the words before a command: a mount namespace in which nothing that is needed is closed to them."""
    needed = [CHECKOUT, Path(sys.base_prefix), *more]
    covers = {cover for path in needed if (cover := _closed(path)) is not None}
    lines = ["set -e", "mount -t tmpfs -o mode=755 none /mnt"]
    fuse = Path("/dev/fuse")
    if fuse.exists() and not fuse.stat().st_mode & 0o002:  # as Debian has it, all may open it
        lines.append("mknod -m 666 /mnt/fuse c 10 229 && mount --bind /mnt/fuse /dev/fuse")
    for number, path in enumerate(needed):
        lines += [f"mkdir /mnt/{number}", f"mount --rbind {shlex.quote(str(path))} /mnt/{number}"]
    lines += [f"mount -t tmpfs -o mode=755 none {shlex.quote(str(cover))}" for cover in sorted(covers)]
    for number, path in enumerate(needed):
        if any(path.is_relative_to(cover) for cover in covers):
            there = shlex.quote(str(path))
            lines += [f"mkdir -p {there}", f"mount --rbind /mnt/{number} {there}"]
    lines.append('exec "$@"')
    return ["unshare", "--mount", "sh", "-c", "\n".join(lines), "uncovered"]


def _closed(path: Path) -> Path | None:
    """Return the topmost folder on the way to `path` that others may not enter."""
    for folder in reversed([path, *path.parents]):
        if not folder.stat().st_mode & 0o001:
            return folder
    return None


def programs_seen() -> str:
    """Return the folder of unpacked programs for ``HTCMAGIC_PROGRAMS``."""
    found = programs.find()
    assert found is not None
    return str(found.release_dir.parents[1])
