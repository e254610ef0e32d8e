"""Folders of executors: whose they are, what another session finds there, what is deleted when."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import secrets
import shutil
import threading
import time
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

from htcmagic import places
from htcmagic.errors import HTCMagicError
from htcmagic.jobs.cluster import Cluster, attach
from htcmagic.jobs.rundir import RunDir

ABOUT = "executor.json"


class Home:
    """The folder of one executor, owned by this session.

    Parameters
    ----------
    path : Path
        The folder.
    name : str
        The executor's.
    detach : bool
        Whether it is left as it is when the session ends.

    Raises
    ------
    HTCMagicError
        Another session has it.
    """

    def __init__(self, path: Path, name: str, *, detach: bool) -> None:
        self.path = places.private(path)
        self.name = name
        self.detach = detach
        self.is_new = not (path / ABOUT).exists()
        self._owner = (path / "owner").open("a+")
        try:
            fcntl.flock(self._owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._owner.seek(0)
            who = self._owner.read().strip()
            self._owner.close()
            raise HTCMagicError(
                f"The executor {name!r} is in use by another session{f' (process {who})' if who else ''}.",
                hint="Use another name, or end it there.",
            ) from None
        self._owner.truncate(0)
        self._owner.write(f"{os.getpid()}\n")
        self._owner.flush()

    def keep(self, clusters: Iterable[Cluster]) -> None:
        """Write down which clusters belong to it; where that fails, another session will not find them."""
        about = {"name": self.name, "detach": self.detach, "clusters": [c.run_dir.run for c in clusters]}
        new = self.path / f".{ABOUT}.new"
        with contextlib.suppress(OSError):
            new.write_text(json.dumps(about), encoding="utf-8")
            new.replace(self.path / ABOUT)

    def clusters(self) -> list[Cluster]:
        """Return the clusters of an earlier session."""
        found = []
        for run in json.loads((self.path / ABOUT).read_text(encoding="utf-8"))["clusters"]:
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                found.append(attach(RunDir(places.runs_dir() / run)))
        return found

    def taken(self) -> set[int]:
        """Return the tasks whose results somebody has asked for, in any session."""
        try:
            return {int(word) for word in (self.path / "taken").read_text().split()}
        except OSError:
            return set()

    def take(self, number: int) -> None:
        """Write down that somebody has asked for a result."""
        with contextlib.suppress(OSError), (self.path / "taken").open("a") as stream:
            stream.write(f"{number}\n")

    def discard_with(self, owner: Any) -> None:
        """Delete the folder when `owner` is gone, or this process ends."""
        weakref.finalize(owner, _discard, self.path, os.getpid(), self._owner)

    def release(self) -> None:
        """Let other sessions have it as it is."""
        self._owner.close()


def _discard(path: Path, pid: int, owner: IO[str]) -> None:
    if os.getpid() == pid:  # no process that was forked off
        shutil.rmtree(path, ignore_errors=True)
        owner.close()


def folder(name: str, *, detach: bool) -> Path:
    """Return the folder of an executor: a new one, or that of the detached one of this name."""
    base = places.private(places.home() / "executors")
    threading.Thread(target=sweep, args=(base,), name="htcmagic-sweep", daemon=True).start()
    tag = secrets.token_hex(4)
    if not detach:
        return base / f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{tag}"
    quoted = re.sub(r"[^\w-]", lambda c: f"%{ord(c[0]):x}", name)
    for path in sorted(base.glob(f"named-{quoted}~*")):
        with contextlib.suppress(OSError, ValueError, KeyError):
            if json.loads((path / ABOUT).read_text(encoding="utf-8"))["detach"]:
                return path
    return base / f"named-{quoted}~{tag}"


def sweep(base: Path) -> None:
    """Delete what killed sessions have left, and remove their workers."""
    for path in base.iterdir():
        with contextlib.suppress(OSError, ValueError, KeyError, HTCMagicError):
            about = json.loads((path / ABOUT).read_text(encoding="utf-8"))
            if about["detach"]:
                continue
            with (path / "owner").open("a+") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                for run in about["clusters"]:
                    _remove(run)
                shutil.rmtree(path, ignore_errors=True)


def _remove(run: str) -> None:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        cluster = attach(RunDir(places.runs_dir() / run))
        if not cluster.done:
            cluster.rm("its session is gone")
