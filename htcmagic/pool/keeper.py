"""The process that keeps a personal pool's ``condor_master`` running; started detached by :mod:`.personal`.

``python -m htcmagic.pool.keeper FOLDER -- COMMAND…`` runs COMMAND, which is ``condor_master -f`` (inside a namespace of
its own where the machine allows that), and starts it again when it was killed. It ends when the command ends in order
or when it is told to (SIGTERM). All the while it holds an exclusive lock on ``FOLDER/keeper.lock``: that lock, and
not a process number, says whether the pool is up, so neither a crash nor a reboot can leave a false trace.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import FrameType

GRACE_S = 8
"""How long daemons and jobs may take to leave in order before they are killed."""
RESTART_DELAY_S = 0.5


class Keeper:
    """Runs one command until it ends in order.

    Parameters
    ----------
    folder : Path
        The pool's folder.
    command : list of str
        What to run.
    """

    def __init__(self, folder: Path, command: list[str]) -> None:
        self.folder = folder
        self.command = command
        self.process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()

    def run(self) -> None:
        """Run until the command ends in order, or until SIGTERM."""
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGALRM, self._kill)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        code = -1
        while not self._stopping.is_set() and code != 0:
            forget_addresses(self.folder)
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, start_new_session=True)
            if self._stopping.is_set():  # told so between the two lines above
                self._terminate()
            code = self.process.wait()
            sweep(self.folder)
            if code != 0 and not self._stopping.is_set():
                time.sleep(RESTART_DELAY_S)
        forget_addresses(self.folder)

    def _stop(self, _signal: int, _frame: FrameType | None) -> None:
        self._stopping.set()
        self._terminate()
        signal.alarm(GRACE_S)

    def _terminate(self) -> None:
        if self.process is not None:
            # unshare(1) ignores SIGTERM while it waits: its child is the master
            for pid in [*children(self.process.pid), self.process.pid]:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGTERM)

    def _kill(self, _signal: int, _frame: FrameType | None) -> None:
        if self.process is not None:
            self.process.kill()


def children(pid: int) -> list[int]:
    """Return the direct children of process `pid`."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def forget_addresses(folder: Path) -> None:
    """Delete the daemons' address files: a stale one would make a dead pool look ready."""
    for file in (folder / "log").glob(".*_address"):
        file.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Kill what a killed ``condor_master`` left behind: processes that run with this pool's environment.

    Daemons carry ``CONDOR_CONFIG=FOLDER/condor_config``, jobs a scratch folder below FOLDER. In a namespace of their
    own all of them are gone already.
    """
    marks = [
        os.fsencode(f"CONDOR_CONFIG={folder}/condor_config"),
        os.fsencode(f"_CONDOR_SCRATCH_DIR={folder}/"),
    ]
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            variables = (entry / "environ").read_bytes().split(b"\0")
            daemon = marks[0] in variables and b"HTCMAGIC_POOL_DAEMON=1" in variables
            if daemon or any(value.startswith(marks[1]) for value in variables):
                os.kill(int(entry.name), signal.SIGKILL)


def main(argv: list[str]) -> int:
    """Take the lock and keep the command running, detached from whoever started it."""
    folder = Path(argv[0])
    lock = os.open(folder / "keeper.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return 1
    if os.fork():  # the lock goes on with the child, which has no parent to wait for it
        return 0
    os.ftruncate(lock, 0)
    os.write(lock, f"{os.getpid()}\n".encode())
    Keeper(folder, argv[2:]).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
