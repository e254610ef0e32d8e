"""The folders we keep on this machine, decided in one place.

Everything of a user lives under one folder: ``$HTCMAGIC_HOME`` if set, else ``$XDG_DATA_HOME/htcmagic``, else
``~/.local/share/htcmagic``. Two things must not lie just anywhere: a personal pool binds unix sockets, whose paths
are limited to 107 bytes by the kernel (``sun_path`` in unix(7)); and event logs want a file system with working
locks. Where the home folder is too deep, or on a network file system, those two go to a private folder of the same
user under ``/var/tmp``, which a reboot does not empty. Two more kinds of places are not for a pool: below ``/tmp``,
as HTCondor mounts a scratch folder over a container job's ``/tmp``, which would hide the job's own; and where a name
has spaces or the like, which in a scratch folder's name trip half of the world's job scripts.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from pathlib import Path

from htcmagic.errors import HTCMagicError

NETWORK_FILE_SYSTEMS = frozenset({"nfs", "nfs4", "afs", "cifs", "smb3", "ceph", "lustre", "gpfs", "fuse.sshfs", "9p"})
LONGEST_POOL_PATH = 60
"""Bytes; HTCondor adds up to 45 of its own below it (``execute/dir_NNN/…`` and socket names)."""


def home() -> Path:
    """Return the folder under which everything of this user is kept; it need not exist."""
    named = os.environ.get("HTCMAGIC_HOME")
    if named:
        return Path(named).expanduser().absolute()
    base = os.environ.get("XDG_DATA_HOME")
    try:
        return (Path(base) if base else Path.home() / ".local" / "share") / "htcmagic"
    except RuntimeError:
        raise HTCMagicError("You have no home folder.", hint="Set HTCMAGIC_HOME to a folder of your own.") from None


def programs_dir() -> Path:
    """Return the folder of unpacked programs, one folder a program and version; ``$HTCMAGIC_PROGRAMS`` wins."""
    named = os.environ.get("HTCMAGIC_PROGRAMS")
    return Path(named).expanduser().absolute() if named else home() / "programs"


def runs_dir() -> Path:
    """Return the folder of submissions, one folder each."""
    return home() / "runs"


def pool_dir() -> Path:
    """Return the personal pool's folder: short, and on a local file system."""
    wanted = home() / "pool"
    return _local(wanted, short=True)


def feed_dir() -> Path:
    """Return the folder of the sockets at which this machine's notebooks share what they ask a schedd."""
    return _local(home() / "feed", short=True)


def log_dir() -> Path:
    """Return where event logs are written: the runs' folder, or a local one when that is on a network."""
    return _local(runs_dir(), short=False)


def _local(wanted: Path, *, short: bool) -> Path:
    if (short and _unfit_for_a_pool(wanted)) or file_system(wanted) in NETWORK_FILE_SYSTEMS:
        tag = hashlib.sha256(os.fsencode(home())).hexdigest()[:8]
        return Path("/var/tmp") / f"htcmagic-{os.getuid()}-{tag}" / wanted.name  # noqa: S108
    return wanted


def _unfit_for_a_pool(path: Path) -> bool:
    plain = re.fullmatch(r"[\w./+@=~:-]+", str(path)) is not None
    return not plain or len(os.fsencode(path)) > LONGEST_POOL_PATH or path.is_relative_to("/tmp")  # noqa: S108


def file_system(path: Path) -> str:
    """Return the type of the file system that holds `path`, as in ``/proc/mounts``; ``""`` if unknown."""
    try:
        mounts = Path("/proc/mounts").read_text(errors="replace").splitlines()
    except OSError:
        return ""
    real = os.path.realpath(path)
    best = ("", "")
    for line in mounts:
        _, point, kind, *_ = line.split()
        point = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), point)
        inside = real == point or real.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best[0]):
            best = (point, kind)
    return best[1]


def private(path: Path) -> Path:
    """Make `path` if needed and make sure that it is ours alone.

    Returns
    -------
    Path
        `path`, a folder with mode 0700 that belongs to this user.

    Raises
    ------
    HTCMagicError
        It cannot be made (read-only, full), or it belongs to somebody else.
    """
    try:
        if path.parent.name.startswith("htcmagic-"):
            private(path.parent)
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        info = path.stat()
        if {info.st_uid, path.lstat().st_uid} != {os.getuid()} or not stat.S_ISDIR(info.st_mode):
            raise HTCMagicError(f"{path} belongs to somebody else.", hint="Set HTCMAGIC_HOME to a folder of your own.")
        if stat.S_IMODE(info.st_mode) & 0o077:
            path.chmod(0o700)
    except OSError as error:
        raise HTCMagicError(
            f"Cannot write to {error.filename or path}: {error.strerror}.",
            hint="Set HTCMAGIC_HOME to a folder that you can write to, on a local disk.",
        ) from None
    return path
