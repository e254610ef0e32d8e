"""A warm worker: takes tasks from a folder as long as there are any.

Its tasks run in a child process, so that one that crashes takes nothing else with it. The files are described in
:mod:`htcmagic.functions.spool`.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import secrets
import signal
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from htcmagic.functions.remote import channel, core
from htcmagic.functions.remote.channel import Channel
from htcmagic.functions.remote.crew import Batch, Crew

STAY = "stay"
"""Last word of the argument of a worker that does not end when it is idle."""
FLUSH_S = 0.05
FLUSH_BYTES = 8 << 20
LOOK_S = 0.25
"""How often a busy worker looks whether it shall stop."""
PATIENCE_S = 60.0
"""How long it tries to reach its folder before it gives up."""
PIECES = 16
"""Most batches into which one is split: each of them is split again if it must be."""


T = TypeVar("T")


class Lost(Exception):  # noqa: N818
    """The folder cannot be reached any more."""


class Worker:
    """One warm worker.

    Parameters
    ----------
    folder : Channel
        The run's folder.
    item : str
        Its name among the workers of its run; each time it is started, a new part is added.
    stays : bool
        Whether it goes on when there is nothing to do.
    """

    def __init__(self, folder: Channel, item: str, context: core.Context, *, stays: bool) -> None:
        self._channel = folder
        self._context = context
        self._ended = ""
        self.name = f"{item}.{secrets.token_hex(4)}"
        self._options: dict[str, Any] = json.loads(self._patiently(lambda: folder.read(channel.WORKER_FILE)) or b"{}")
        self._stays = stays
        self._files = 0
        self._batches = 0
        self._results: list[bytes] = []
        self._size = 0
        self._first_result = 0.0
        self._known: deque[str] = deque()
        self._listed = 0.0
        self._next_look = 0.0
        self._beat = (b"", time.monotonic())
        self._functions: set[str] = set()
        self._crew = Crew(context, folder.room(context.scratch), self.name)

    def run(self) -> int:
        """Work until there is nothing to do or somebody says so."""
        about = {"host": platform.node(), "job": self._context.job, "pid": os.getpid()}
        self._patiently(lambda: self._channel.write(f"workers/{self.name}", [json.dumps(about).encode()]))
        if self._options.get("keep"):
            self._recover()
        idle_since = time.monotonic()
        rest_s = 0.0
        try:
            while not self._over():
                batch = self._claim()
                if batch is not None:
                    self._work(batch)
                    idle_since, rest_s = time.monotonic(), 0.002
                    continue
                idle_s = time.monotonic() - idle_since
                if self._idle_too_long(idle_s):
                    self._ended = "idle"
                    break
                soon, later = self._channel.rests_s
                time.sleep(rest_s)
                rest_s = min(rest_s * 1.3 + 0.001, soon if idle_s < 10 else later)
        finally:
            self._crew.dismiss()
        return 0

    def terminate(self, *_: object) -> None:
        """End, and hand back what is not finished: HTCondor evicts the job."""
        self._ended = "terminated"

    def _over(self) -> str:
        """Return why to end; empty for going on."""
        now = time.monotonic()
        if not self._ended and now >= self._next_look:
            self._next_look = now + LOOK_S
            if self._patiently(lambda: self._channel.exists("stop")):
                self._ended = "stop"
            elif not self._options.get("detach"):
                beat = self._patiently(lambda: self._channel.read("alive"))
                if beat != self._beat[0]:
                    self._beat = beat, time.monotonic()
                elif now - self._beat[1] > float(self._options.get("lease_s", 60)):
                    self._ended = "lease"
        return self._ended

    def _idle_too_long(self, idle_s: float) -> bool:
        if self._stays:
            return False
        if idle_s > float(self._options.get("idle_s", 60)):
            return True
        return bool(self._options.get("drain")) and idle_s > LOOK_S and not self._more_may_come()

    def _more_may_come(self) -> bool:
        """Whether another worker holds tasks that it may hand out again."""
        names = self._patiently(lambda: self._channel.names("claimed"))
        return any(int(name.rpartition("-")[2]) > 1 for name in names)

    def _claim(self) -> Batch | None:
        now = time.monotonic()
        if not self._known or now - self._listed > LOOK_S:
            self._known = deque(sorted(self._patiently(lambda: self._channel.names("tasks"))))
            self._listed = now
        while self._known:
            name = self._known.popleft()
            claimed = f"claimed/{self.name}~{name}"
            if self._patiently(lambda name=name, to=claimed: self._channel.move(f"tasks/{name}", to)):  # type: ignore[misc]
                with contextlib.suppress(FileNotFoundError):  # they think that this worker has vanished
                    return self._open(claimed)
        return None

    def _open(self, claimed: str) -> Batch:
        self._batches += 1
        batch = Batch(self._batches, claimed, self._here(claimed, self._crew.batch_file(self._batches)))
        for name in {header["function"] for header in batch.headers} - self._functions:
            self._here(f"functions/{name}", self._crew.function_file(name))
            self._functions.add(name)
        return batch

    def _here(self, name: str, target: Path) -> Path:
        """Make a file readable at `target`, for the child."""
        self._patiently(lambda: self._channel.fetch(name, target))
        return target

    def _work(self, batch: Batch) -> None:
        split_s = float(self._options.get("split_s", 0.1))
        next_split = time.monotonic() + split_s
        while batch.open:
            if self._over():
                self._abandon(batch)
                return
            for data, file in self._crew.work(batch, FLUSH_S):
                self._keep(data, file)
            now = time.monotonic()
            if self._results and (now - self._first_result > FLUSH_S or self._size > FLUSH_BYTES):
                self._flush()
            if now >= next_split and len(batch.open) > 1:
                next_split = now + split_s
                if not self._patiently(lambda: self._channel.names("tasks")):  # what was known of it is old
                    self._split(batch)
        self._flush()
        self._patiently(lambda: self._channel.remove(batch.claimed))
        batch.file.unlink()

    def _keep(self, data: bytes, file: Path | None) -> None:
        if file is not None:
            self._files += 1
            self._patiently(lambda: self._channel.deliver(file, f"results/{self.name}-{self._files:06}"))
            return
        if not self._results:
            self._first_result = time.monotonic()
        self._results.append(data)
        self._size += len(data)

    def _flush(self) -> None:
        if self._results:
            self._files += 1
            self._patiently(lambda: self._channel.write(f"results/{self.name}-{self._files:06}", self._results))
            self._results, self._size = [], 0

    def _split(self, batch: Batch) -> None:
        """Hand out again what has not begun, in pieces of about what is done in the time after which one splits.

        Whenever this process is killed in here, each task is in at least one file.
        """
        free = self._crew.take_back(batch)
        if not free:
            return
        self._flush()
        done = len(batch.headers) - len(batch.open) - len(free)
        size = max(1, done, -(-len(free) // PIECES))
        seq = batch.claimed.rpartition("~")[2].partition("-")[0].partition(".")[0]
        held = f"claimed/{self.name}~{seq}.{secrets.token_hex(4)}-{len(batch.open)}"
        if batch.open:
            self._publish(held, batch, list(batch.open))
        self._hand_out(batch, free, size, seq)
        self._patiently(lambda: self._channel.remove(batch.claimed))
        batch.claimed = held

    def _hand_out(self, batch: Batch, free: list[int], size: int, seq: str) -> None:
        tag = secrets.token_hex(4)
        for number, start in enumerate(range(0, len(free), size)):
            some = free[start : start + size]
            self._publish(f"tasks/{seq}.{number:04}{tag}-{len(some)}", batch, some)

    def _publish(self, name: str, batch: Batch, indexes: list[int]) -> None:
        blocks = batch.read(indexes)
        self._patiently(lambda: self._channel.write(name, blocks))

    def _abandon(self, batch: Batch) -> None:
        """Stop in the middle; after an eviction others get the rest at once."""
        left = list(batch.open)
        self._crew.take_back(batch)
        running = list(batch.open)
        self._crew.dismiss()
        self._flush()
        if self._ended == "terminated":
            seq = batch.claimed.rpartition("~")[2].partition("-")[0].partition(".")[0]
            with contextlib.suppress(OSError, Lost):
                if running and self._options.get("keep"):  # should this be a hold, it would have them all held
                    left = [index for index in left if index not in running]
                    held = f"claimed/{self.name}~{seq}.{secrets.token_hex(4)}-{len(running)}"
                    self._publish(held, batch, running)
                self._hand_out(batch, left, 1 if len(left) < PIECES else PIECES, seq)
                self._patiently(lambda: self._channel.remove(batch.claimed))

    def _recover(self) -> None:
        """Hand out what earlier runs of this job have kept."""
        item = self.name.rpartition(".")[0]
        for name in self._patiently(lambda: self._channel.names("claimed")):
            worker, _, batch = name.partition("~")
            if worker.rpartition(".")[0] == item and worker != self.name:
                self._patiently(lambda name=name, batch=batch: self._channel.move(f"claimed/{name}", f"tasks/{batch}"))  # type: ignore[misc]

    def _patiently(self, action: Callable[[], T]) -> T:
        """Do something in the folder; as long as it cannot be reached, or the disk is full, again and again."""
        deadline = time.monotonic() + (5 if self._ended else PATIENCE_S)
        while True:
            try:
                return action()
            except FileNotFoundError:
                raise
            except OSError as error:
                if time.monotonic() > deadline:
                    raise Lost(f"the folder of the tasks cannot be used any more: {error}") from None
                time.sleep(0.5)


def main(home: Path, arguments: list[str], *, transferred: bool) -> int:
    """Work until there is nothing to do.

    Parameters
    ----------
    home : Path
        The run's folder on the submit machine.
    arguments : list of str
        One: ``NAME@TOKEN``, or ``NAME@TOKEN@stay``.
    """
    del transferred
    item, token, *more = arguments[0].split("@")
    context = core.here()
    os.chdir(context.scratch)
    try:
        worker = Worker(channel.reach(home, token), item, context, stays=STAY in more)
        signal.signal(signal.SIGTERM, worker.terminate)
        return worker.run()
    except (Lost, FileNotFoundError) as error:
        sys.stderr.write(f"htcmagic: {error}\n")
        return 1
