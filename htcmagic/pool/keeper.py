"""The process that keeps a personal pool's ``condor_master`` running; started detached by :mod:`.personal`.

``python -m htcmagic.pool.keeper FOLDER -- COMMAND…`` runs COMMAND, which is ``condor_master -f`` (inside a namespace of
its own where the machine allows that), and starts it again when it was killed. It ends when the command ends in order,
when it is told to (SIGTERM), or when the command fails again and again before the pool was ready.

All the while it holds a lock on ``FOLDER/keeper.lock``: that lock, and not a process number, says whether the pool is
up, so neither a crash nor a reboot can leave a false trace. Nothing outlives it: the command is killed by the kernel
when the keeper dies, whatever the way, and with the namespace everything in it. Where there is no namespace the
keeper adopts what the command leaves behind (``PR_SET_CHILD_SUBREAPER``) and kills it; and what a killed keeper leaves
behind is killed by :func:`sweep` before the pool is started again.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import struct
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

GRACE_S = 8
"""How long daemons and jobs may take to leave in order before they are killed."""
RESTART_DELAY_S = 0.5
FAILURES = 3
"""So often in a row may the command end before the pool was ready."""
LOCK_FILE = "keeper.lock"
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


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
        self._pid = 0
        self._stopping = False

    def run(self) -> int:
        """Run until the command ends in order, or until SIGTERM; return 1 if it cannot be kept running."""
        for number, action in (
            (signal.SIGTERM, self._stop),
            (signal.SIGALRM, self._kill),
            (signal.SIGHUP, signal.SIG_IGN),
            (signal.SIGINT, signal.SIG_IGN),
        ):
            signal.signal(number, action)
        _prctl(PR_SET_CHILD_SUBREAPER, 1)
        code, failures = -1, 0
        while code != 0 and not self._stopping:
            forget_addresses(self.folder)
            self._start()
            code = self._wait()
            failures = 0 if (self.folder / "log" / ".schedd_address").exists() else failures + 1
            kill_all(descendants)
            sweep(self.folder)
            if failures == FAILURES:
                break
            if code != 0 and not self._stopping:
                time.sleep(RESTART_DELAY_S)
        forget_addresses(self.folder)
        return 0 if code == 0 or self._stopping else 1

    def _start(self) -> None:
        keeper = os.getpid()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # until it is known whom to tell
        self._pid = os.fork()
        if self._pid == 0:
            _become(self.command, keeper)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        if self._stopping:  # told so just before
            self._terminate()

    def _wait(self) -> int:
        """Return the command's exit code; bury adopted processes meanwhile."""
        while True:
            pid, status = os.waitpid(-1, 0)
            if pid == self._pid:
                self._pid = 0
                return os.waitstatus_to_exitcode(status)

    def _stop(self, _signal: int, _frame: FrameType | None) -> None:
        self._stopping = True
        self._terminate()
        signal.alarm(GRACE_S)

    def _terminate(self) -> None:
        if self._pid:
            # unshare(1) ignores SIGTERM while it waits: its child is the master
            for pid in [*children(self._pid), self._pid]:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGTERM)

    def _kill(self, _signal: int, _frame: FrameType | None) -> None:
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)


def _become(command: list[str], keeper: int) -> None:
    """Turn this new child into the command, which does not outlive the keeper."""
    try:
        os.setsid()
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        if os.getppid() == keeper:  # else it died before it could have been noticed
            os.execvp(command[0], command)  # noqa: S606
    finally:
        os._exit(127)


def _prctl(option: int, value: int) -> None:
    import ctypes  # noqa: PLC0415 - not wanted by those who only ask for the lock

    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def children(pid: int) -> list[int]:
    """Return the direct children of process `pid`."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def descendants() -> Iterator[int]:
    """Give everything that runs below this process; what has ended is buried."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    todo = children(os.getpid())
    while todo:
        pid = todo.pop()
        yield pid
        todo += children(pid)


def kill_all(find: Callable[[], Iterator[int]], within_s: float = 5.0) -> None:
    """Kill what `find` gives until it gives nothing more: a process that is forked meanwhile is met the next time."""
    deadline = time.monotonic() + within_s
    while (pids := list(find())) and time.monotonic() < deadline:
        for pid in pids:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def forget_addresses(folder: Path) -> None:
    """Delete the daemons' address files: a stale one would make a dead pool look ready."""
    for file in (folder / "log").glob(".*_address"):
        file.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Kill what a killed keeper or ``condor_master`` left behind; in a namespace all of it is gone already."""
    kill_all(lambda: members(folder))


def members(folder: Path) -> Iterator[int]:
    """Give the processes that run with a pool's environment, this one excepted.

    Daemons carry ``CONDOR_CONFIG=FOLDER/condor_config``, jobs a scratch folder below FOLDER.
    """
    config = os.fsencode(f"CONDOR_CONFIG={folder}/condor_config")
    scratch = os.fsencode(f"_CONDOR_SCRATCH_DIR={folder}/")
    for entry in os.listdir("/proc"):  # noqa: PTH208 - called in a loop
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            variables = Path("/proc", entry, "environ").read_bytes().split(b"\0")
            daemon = config in variables and b"HTCMAGIC_POOL_DAEMON=1" in variables
            if daemon or any(value.startswith(scratch) for value in variables):
                yield int(entry)


def lock(folder: Path) -> int | None:
    """Take the lock that says that the pool is up; return None if another has it.

    It belongs to the open file: a fork keeps it, an exec or the end of the last process that has it gives it back.
    """
    file = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, _flock(fcntl.F_WRLCK))
    except OSError:
        os.close(file)
        return None
    return file


def holder(folder: Path) -> int | None:
    """Return the process number of the pool's keeper; None if there is none. Nothing is locked by asking."""
    try:
        with (folder / LOCK_FILE).open("rb") as file:
            found = fcntl.fcntl(file, fcntl.F_OFD_GETLK, _flock(fcntl.F_WRLCK))
            if struct.unpack_from("h", found)[0] == fcntl.F_UNLCK:
                return None
            return int(file.read() or b"0")
    except (OSError, ValueError):
        return None


def _flock(kind: int) -> bytes:
    """Return C's ``struct flock`` for the whole file."""
    return struct.pack("hhqqi4x", kind, os.SEEK_SET, 0, 0, 0)


def main(argv: list[str]) -> int:
    """Take the lock and keep the command running, detached from whoever started it."""
    folder = Path(argv[0])
    held = lock(folder)
    if held is None:
        return 1
    pid = os.fork()
    if pid:
        os.ftruncate(held, 0)
        os.write(held, f"{pid}\n".encode())
        return 0
    return Keeper(folder, argv[2:]).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
