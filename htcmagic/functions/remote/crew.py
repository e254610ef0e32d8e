"""A worker's child process seen from its parent: gives it tasks, hears its answers, replaces it when it dies."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
import select
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

from htcmagic.functions.remote import child, core, records
from htcmagic.functions.remote.child import ANSWER, TOKEN
from htcmagic.functions.remote.records import Header

WINDOW = 1000
"""Most tasks that lie in the pipe: it holds 64 KiB."""
READ = 1 << 20
DIED = "WorkerDied"
"""Type of the error of a task whose process died."""
HOPELESS = 5
"""So many children in a row that die without a task: something is wrong with the machine."""
_F_SETPIPE_SZ = 1031


class Batch:
    """Tasks that were claimed together.

    Parameters
    ----------
    number : int
        In the order of claims.
    claimed : str
        Its file in the run's folder.
    file : Path
        Where it can be read.
    """

    def __init__(self, number: int, claimed: str, file: Path) -> None:
        self.number = number
        self.claimed = claimed
        self.file = file
        self.headers: list[Header] = []
        self.places: list[tuple[int, int]] = []
        with file.open("rb") as stream:
            start = 0
            while line := stream.readline():
                header = json.loads(line)
                if not line.endswith(b"\n"):
                    break
                end = stream.tell() + sum(size for _, size in header["parts"])
                self.headers.append(header)
                self.places.append((start, end - start))
                stream.seek(end)
                start = end
        self.open = dict.fromkeys(range(len(self.headers)))
        """Tasks without an answer, in their order."""
        self.next = 0
        """The first of them that has not been put into the pipe."""

    def read(self, indexes: list[int]) -> list[bytes]:
        """Return records as they are in the file."""
        found = []
        with self.file.open("rb") as stream:
            for index in indexes:
                offset, size = self.places[index]
                stream.seek(offset)
                found.append(stream.read(size))
        return found


class Crew:
    """The one child at a time.

    Parameters
    ----------
    context : Context
        Where tasks run.
    room : Path
        Where large results are written.
    name : str
        The worker's.
    """

    def __init__(self, context: core.Context, room: Path, name: str) -> None:
        self._context = context
        self._room = room
        self._name = name
        self._pid = 0
        self._tokens = self._answers = (-1, -1)
        self._buffer = bytearray()
        self._died_idle = 0
        self._poll = select.poll()
        self._pidfd = self._spare = -1

    def batch_file(self, number: int) -> Path:
        """Return where the child looks for a batch."""
        return child.batch_file(self._context.scratch, number)

    def function_file(self, name: str) -> Path:
        """Return where the child looks for a function."""
        return child.function_file(self._context.scratch, name)

    def work(self, batch: Batch, within_s: float) -> Iterator[tuple[bytes, Path | None]]:
        """Give the child what it has room for, wait for answers a while, yield results: records, or files of them."""
        if not self._pid:
            self._start()
        self._give(batch)
        self._poll.poll(within_s * 1000)
        dead = self._dead()
        yield from self._hear(batch)
        if dead is not None:
            yield from self._buried(batch, dead)

    def take_back(self, batch: Batch) -> list[int]:
        """Take tasks that have not begun away from the child; they are not open any more."""
        free = sorted({*self._drain(), *range(batch.next, len(batch.headers))})
        for index in free:
            batch.open.pop(index, None)
        batch.next = len(batch.headers)
        return free

    def dismiss(self) -> None:
        """End the child, and whatever it has started."""
        if self._pid:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self._pid, 0)
        self._forget()

    def _start(self) -> None:
        if self._died_idle >= HOPELESS:
            raise RuntimeError("the processes in which tasks should run die at once")
        self._tokens, self._answers = os.pipe(), os.pipe()
        # opened anew, as the child's reads must go on waiting
        self._spare = os.open(f"/proc/self/fd/{self._tokens[0]}", os.O_RDONLY | os.O_NONBLOCK)
        with contextlib.suppress(OSError):
            fcntl.fcntl(self._answers[1], _F_SETPIPE_SZ, READ)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        pid = os.fork()
        if not pid:
            self._become_child()
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)
        self._pid = pid
        os.set_blocking(self._answers[0], False)
        self._poll = select.poll()
        self._poll.register(self._answers[0], select.POLLIN)
        with contextlib.suppress(OSError, AttributeError):
            self._pidfd = os.pidfd_open(pid)
            self._poll.register(self._pidfd, select.POLLIN)

    def _become_child(self) -> None:
        """Run tasks; no code of the parent goes on in this process."""
        try:
            os.setpgid(0, 0)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            os.close(self._tokens[1])
            os.close(self._answers[0])
            child.Child(self._context, self._tokens[0], self._answers[1], self._room, self._name).serve()
        except BaseException:  # noqa: BLE001 - said, and then the parent sees that it is gone
            traceback.print_exc()
            os._exit(1)
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(0)

    def _give(self, batch: Batch) -> None:
        in_pipe = len(batch.open) - (len(batch.headers) - batch.next)
        until = min(batch.next + WINDOW - in_pipe, len(batch.headers))
        if until <= batch.next or (in_pipe > WINDOW // 2):
            return
        tokens = [TOKEN.pack(batch.number, i, *batch.places[i]) for i in range(batch.next, until)]
        batch.next = until
        child.send(self._tokens[1], b"".join(tokens))

    def _drain(self) -> list[int]:
        """Take the tokens out of the pipe again; what the child has taken is not among them."""
        if not self._pid:
            return []
        found = []
        with contextlib.suppress(BlockingIOError):
            while token := os.read(self._spare, TOKEN.size):
                found.append(TOKEN.unpack(token)[1])
        return found

    def _hear(self, batch: Batch) -> Iterator[tuple[bytes, Path | None]]:
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._answers[0], READ):
                self._buffer += data
        while len(self._buffer) >= ANSWER.size:
            number, index, kind, size = ANSWER.unpack_from(self._buffer)
            if len(self._buffer) < ANSWER.size + size:
                return
            data = bytes(self._buffer[ANSWER.size : ANSWER.size + size])
            del self._buffer[: ANSWER.size + size]
            if number != batch.number or index not in batch.open:
                continue
            del batch.open[index]
            self._died_idle = 0
            yield (data, None) if kind == child.INLINE else (b"", Path(os.fsdecode(data)))

    def _dead(self) -> int | None:
        try:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
        except ChildProcessError:
            return 0
        return status if pid else None

    def _buried(self, batch: Batch, status: int) -> Iterator[tuple[bytes, Path | None]]:
        """Answer for the task that ran when the child died; the others will be given to the next child."""
        left = set(self._drain())
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._pid, signal.SIGKILL)  # what the task has started
        for scrap in self._room.glob(f".{self._name}-*.large"):
            scrap.unlink(missing_ok=True)
        ran = next((i for i in batch.open if i < batch.next and i not in left), None)
        batch.next = min([*left, batch.next])
        self._forget()
        if ran is None:
            self._died_idle += 1
            time.sleep(0.1 * self._died_idle)
            return
        del batch.open[ran]
        yield self._obituary(batch.headers[ran], status), None

    def _obituary(self, task: Header, status: int) -> bytes:
        code = os.waitstatus_to_exitcode(status)
        if code < 0:
            how = f"was killed by signal {-code} ({signal.Signals(-code).name})"
        else:
            how = f"ended with exit code {code}, without returning"
        header: Header = {
            "id": task["id"],
            "ok": False,
            "python": platform.python_version(),
            "job": self._context.job,
            "host": platform.node(),
            "started": time.time(),
            "seconds": 0.0,
            "rss_kib": 0,
            "error": {"type": DIED, "message": f"the process that ran it {how}", "frames": []},
        }
        if "label" in task:
            header["label"] = task["label"]
        return records.packed(header, [])

    def _forget(self) -> None:
        for descriptor in (*self._tokens, *self._answers, self._pidfd, self._spare):
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self._pid = 0
        self._pidfd = self._spare = -1
        self._tokens = self._answers = (-1, -1)
        self._buffer.clear()
