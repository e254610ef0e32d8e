"""Putting a kernel's folder in place: whole or not at all, one at a time, and nothing left behind.

A kernel is written into a hidden folder beside the others, then exchanged with the one of its name in one step. Where
the file system cannot exchange (NFS), the old one is renamed first; who is killed between the two steps leaves it in
the hidden folder, from where the next command that writes puts it back. The hidden folder holds kernels one level
deeper, so that Jupyter never lists what is not ready.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from htcmagic.errors import KernelError
from htcmagic.kernels.kernelspec import PROGRAMS, Kernel, look_up

PREFIX = ".htcmagic."
LOCK = f"{PREFIX}lock"
OLD = "old,"
"""Before the name of a kernel that was moved aside; a comma is in no kernel's name."""
PATIENCE_S = 30.0
UNLOCKED_S = 86_400.0
"""Age at which leftovers are deleted where the file system has no locks."""
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


class Staging:
    """A hidden folder beside the kernels, in which one or more are made ready.

    Parameters
    ----------
    kernels : Path
        The folder of kernels.
    folder : Path
        The hidden folder.
    """

    def __init__(self, kernels: Path, folder: Path) -> None:
        self.kernels = kernels
        self.folder = folder

    def write(self, name: str, files: Mapping[str, bytes]) -> Path:
        """Write a kernel's files here, in place of what was written before; return its folder."""
        target = self.folder / name
        with plainly(target):
            _delete(target)
            target.mkdir()
            _owner_at_least(target, 0o700)
            for file, content in files.items():
                _write(target / file, content, 0o755 if file in PROGRAMS else 0o644)
            _sync(target)
        return target

    def put(self, name: str, allow: Callable[[Kernel | None], None]) -> Path:
        """Put a written kernel in its place; return its folder there.

        Parameters
        ----------
        name : str
            Its name.
        allow : callable
            Gets the kernel that is in its place, and raises if that must stay.
        """
        target, new = self.kernels / name, self.folder / name
        with plainly(target), _locked(self.kernels):
            there = look_up(name, self.kernels)
            allow(there)
            exchanged = os.path.lexists(target) and _exchange(new, target)
            if not exchanged:
                if os.path.lexists(target):
                    target.rename(self.folder / f"{OLD}{name}")
                new.rename(target)
            _sync(self.kernels)
        return target


@contextlib.contextmanager
def staging(kernels: Path) -> Iterator[Staging]:
    """Give a hidden folder in `kernels`; it is deleted at the end, and so are those that were left behind.

    Raises
    ------
    KernelError
        Nothing can be written there.
    """
    with contextlib.ExitStack() as stack:
        with plainly(kernels):
            kernels.mkdir(parents=True, exist_ok=True)
            with _locked(kernels):
                _sweep(kernels)
                folder = kernels / f"{PREFIX}{os.urandom(6).hex()}"
                folder.mkdir(mode=0o700)
                _owner_at_least(folder, 0o700)
                stack.callback(_forget, folder, kernels)
                stack.enter_context(_held(folder))
        yield Staging(kernels, folder)


def remove(kernel: Kernel) -> None:
    """Delete a kernel's folder, in one step.

    Raises
    ------
    KernelError
        It may not be deleted.
    """
    with staging(kernel.folder.parent) as stage, plainly(kernel.folder), _locked(stage.kernels):
        kernel.folder.rename(stage.folder / kernel.folder.name)
        _sync(stage.kernels)


@contextlib.contextmanager
def plainly(where: Path) -> Iterator[None]:
    """Say in plain words what the operating system refuses."""
    try:
        yield
    except OSError as error:
        said = error.strerror or str(error)
        hints = {
            errno.ENOSPC: "Free some space there, or choose another place with --prefix or --to.",
            errno.EDQUOT: "Free some space there, or choose another place with --prefix or --to.",
        }
        hint = hints.get(error.errno or 0, "Choose a place that you can write to: --user, --prefix P or --to DIR.")
        raise KernelError(f"Cannot write {where}: {said}.", hint=hint) from None


def _write(path: Path, content: bytes, mode: int) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb") as file:  # noqa: PTH123
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    _owner_at_least(path, 0o500 if mode & 0o100 else 0o400)


def _owner_at_least(path: Path, wanted: int) -> None:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode | wanted != mode:
        path.chmod(mode | wanted)


def _sync(folder: Path) -> None:
    """Have a folder's entries on disk, where the file system does that."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(number)
    finally:
        os.close(number)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two folders in one step; False where the file system or the C library cannot."""
    import ctypes  # noqa: PLC0415 - only where a kernel is replaced

    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:
        return False
    done = rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)
    if done == 0:
        return True
    number = ctypes.get_errno()
    if number in {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EPERM}:
        return False
    raise OSError(number, os.strerror(number), str(other))


@contextlib.contextmanager
def _locked(kernels: Path) -> Iterator[None]:
    """Be the only one who changes this folder of kernels."""
    try:
        number = os.open(kernels / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except PermissionError:
        if not (kernels / LOCK).exists():
            raise
        # another user's lock, in a folder of several
        number = os.open(kernels / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    deadline = time.monotonic() + PATIENCE_S
    try:
        while not _lock(number):
            if time.monotonic() > deadline:
                raise KernelError(
                    f"Somebody else is at work in {kernels}.", hint="Another htc-kernel? Try again when it has ended."
                )
            time.sleep(0.02)
        yield
    finally:
        os.close(number)


def _lock(number: int) -> bool:
    """Lock a file; False if somebody else holds it. Where there are no locks, everybody has them."""
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in {errno.ENOLCK, errno.ENOTSUP, errno.EINVAL, errno.EBADF, errno.ENOSYS}:
            raise
    return True


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold the lock of a hidden folder, so that nobody sweeps it."""
    number = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _lock(number)
        yield
    finally:
        os.close(number)


def _sweep(kernels: Path) -> None:
    """Delete what killed commands left, and put back what they had moved aside. With the lock held."""
    for folder in sorted(kernels.glob(f"{PREFIX}*")):
        if not folder.is_dir():
            continue
        with contextlib.suppress(OSError):
            if _is_abandoned(folder):
                _forget(folder, kernels)


def _is_abandoned(folder: Path) -> bool:
    try:
        number = os.open(folder / "lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True  # killed before it had made its lock, or while it was deleting
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return time.time() - folder.stat().st_mtime > UNLOCKED_S
    finally:
        os.close(number)
    return True


def _forget(folder: Path, kernels: Path) -> None:
    """Delete a hidden folder, but put back a kernel whose successor never came; what stays is swept later."""
    for entry in folder.iterdir() if folder.is_dir() else ():
        name = entry.name
        if name.startswith(OLD) and not os.path.lexists(kernels / name.removeprefix(OLD)):
            entry.rename(kernels / name.removeprefix(OLD))
        elif name != "lock":
            _delete(entry, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)


def _delete(path: Path, *, ignore_errors: bool = False) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink(missing_ok=True)
    elif path.exists():
        shutil.rmtree(path, ignore_errors=ignore_errors)
