"""Run a command where /cvmfs is a folder of ours: a private mount namespace that needs nothing of the host.

Run as a program, it makes the namespace by system calls (root needs no user namespace, everybody else gets one with his
own user id), builds a root out of the host's top-level folders and /cvmfs, enters it, and becomes the command.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000
MS_BIND, MS_REC, MS_PRIVATE, MS_UNBINDABLE = 0x1000, 0x4000, 0x40000, 0x20000
PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
EL9 = (
    'NAME="AlmaLinux"\nVERSION="9.4 (Seafoam Ocelot)"\nID="almalinux"\nID_LIKE="rhel centos fedora"\nVERSION_ID="9.4"\n'
)
libc = ctypes.CDLL(None, use_errno=True)


def inside(
    tree: Path, command: list[str], *, grafts: dict[str, Path] | None = None, system: str = EL9, **kw: Any
) -> subprocess.CompletedProcess[str]:
    """Run `command` with `tree` at /cvmfs.

    Parameters
    ----------
    tree : Path
        What :func:`tree.build` made; an empty folder is a machine without repositories.
    command : list of str
        The program and its words.
    grafts : dict of str to Path
        More folders to show, by the place where they are seen.
    system : str
        The text of /etc/os-release there; empty for the host's.
    **kw
        For :func:`subprocess.run`.
    """
    kw = {"capture_output": True, "text": True, "timeout": 120, "stdin": subprocess.DEVNULL} | kw
    shown = {"/cvmfs": str(tree), **{to: str(at) for to, at in (grafts or {}).items()}}
    with tempfile.TemporaryDirectory() as scratch:
        plan = {"scratch": scratch, "grafts": shown, "system": system}
        return subprocess.run([sys.executable, "-I", __file__, json.dumps(plan), *command], check=False, **kw)


def _checked(done: int, what: str) -> None:
    if done != 0:
        code = ctypes.get_errno()
        sys.exit(f"namespace: {what}: {os.strerror(code)}")


def _mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    words = [None if word is None else os.fsencode(word) for word in (source, target, kind)]
    _checked(libc.mount(*words, flags, data.encode() if data else None), f"mount {source} at {target}")


def _show(source: Path, target: Path) -> None:
    """Show `source` at `target`, which does not exist yet."""
    if source.is_symlink():
        target.symlink_to(source.readlink())
    elif source.is_dir():
        target.mkdir()
        _mount(str(source), str(target), None, MS_BIND | MS_REC)
    elif source.exists():
        target.touch()
        _mount(str(source), str(target), None, MS_BIND)


def _new_root(scratch: Path, added: dict[str, str]) -> None:
    """Make a root of everything that the host has at its top, and `added`; enter it."""
    _mount("none", str(scratch), "tmpfs", 0, "mode=755")
    _mount("none", str(scratch), None, MS_UNBINDABLE)
    for entry in Path("/").iterdir():
        if f"/{entry.name}" not in added:
            _show(entry, scratch / entry.name)
    for target, source in added.items():
        _show(Path(source).resolve(), scratch / target.lstrip("/"))
    old = scratch / ".old"
    old.mkdir()
    os.chdir(scratch)
    _checked(libc.syscall(PIVOT_ROOT[platform.machine()], b".", b".old"), "pivot_root")
    os.chdir("/")
    _checked(libc.umount2(b"/.old", 2), "umount")
    Path("/.old").rmdir()


def _graft(source: str, target: Path) -> None:
    """Show `source` at `target` below a folder that may not be written to: its entries are shown anew, beside it."""
    parent = target.parent
    _mount("none", "/mnt", "tmpfs", 0, "mode=755")
    kept, new = Path("/mnt/kept"), Path("/mnt/new")
    kept.mkdir()
    new.mkdir()
    _mount(str(parent), str(kept), None, MS_BIND | MS_REC)
    for entry in kept.iterdir():
        if entry.name != target.name:
            _show(entry, new / entry.name)
    _show(Path(source), new / target.name)
    _mount(str(new), str(parent), None, MS_BIND | MS_REC)
    _checked(libc.umount2(b"/mnt", 2), "umount /mnt")


def enter(scratch: str, grafts: dict[str, str], system: str) -> None:
    """Leave the host's mounts behind."""
    uid, gid, cwd = os.getuid(), os.getgid(), Path.cwd()
    _checked(libc.unshare(CLONE_NEWNS | (CLONE_NEWUSER if uid else 0)), "unshare")
    if uid:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    _mount("none", "/", None, MS_REC | MS_PRIVATE)
    _new_root(Path(scratch), {to: at for to, at in grafts.items() if to.count("/") == 1})
    if system:
        _mount("none", "/mnt", "tmpfs", 0, "mode=755")
        Path("/mnt/os-release").write_text(system)
        _mount("/mnt/os-release", "/etc/os-release", None, MS_BIND)
        _checked(libc.umount2(b"/mnt", 2), "umount /mnt")
    for target, source in grafts.items():
        if target.count("/") > 1:
            _graft(source, Path(target))
    os.chdir(cwd)


if __name__ == "__main__":
    enter(**json.loads(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606
