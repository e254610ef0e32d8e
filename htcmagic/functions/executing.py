"""What is behind an executor: its tasks, its workers, its folder. It lives until its last result is there."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from pathlib import Path
from typing import Any

from htcmagic.errors import HTCMagicError, ResultMissing, WorkerLost
from htcmagic.functions import dataflow
from htcmagic.functions.batches import Task
from htcmagic.functions.calls import Calls, batches
from htcmagic.functions.collector import collector
from htcmagic.functions.executions import at_exit, live, name
from htcmagic.functions.executorhome import Home
from htcmagic.functions.payload import Function
from htcmagic.functions.remote.records import Record
from htcmagic.functions.spool import Options, Spool
from htcmagic.functions.taskfuture import TaskFuture
from htcmagic.functions.workers import Plan, Workers
from htcmagic.jobs.cluster import Cluster
from htcmagic.pool.client import Client

REST_S = (0.001, 0.05, 1.0)
"""Shortest and longest time between two looks for results; and when none is awaited."""
SHOWN_S = 0.3
"""How often a view is brought up to date."""
LOST_S = 2.0
"""Tasks that are nowhere for so long are lost."""


class Execution:
    """Tasks of one executor and who runs them.

    Parameters
    ----------
    path : Path
        Its folder.
    plan : Plan
        Which workers.
    options : Options
        What workers are told.
    connect : callable
        Returns the client of the pool.
    """

    def __init__(self, path: Path, plan: Plan, options: Options, connect: Callable[[], Client], retries: int) -> None:
        self.path = path
        self.home = Home(path, plan.name, detach=options.detach)
        self.plan = plan
        self.spool = Spool(path, retries=retries)
        self.workers = Workers(plan, self.spool, connect, self._remember)
        self.name_of_end = ""
        """The line that ends it, where it is not the user's own ``Executor``."""
        self.handle: Callable[[], object] = lambda: None
        """Returns what the user holds of it, if they still do."""
        self.counts: Counter[str] = Counter()
        self.blocked: set[int] = set()
        """Calls that wait for their arguments."""
        self.ended = False
        self.view: Callable[[bool], None] | None = None
        self.calls = Calls(self.spool, plan.place)
        self._futures: dict[int, TaskFuture] = {}
        self._untaken: dict[int, TaskFuture] = {}
        self._pending: list[Task] = []
        self._numbers = itertools.count(time.time_ns() // 1000)
        self._lock = threading.RLock()
        self._finished = threading.Condition(self._lock)
        self._next_beat = self._nowhere_since = 0.0
        self._last_news = time.monotonic()
        self._closing = self._cancels = False
        if self.home.is_new:
            self.spool.make(options)
            self._remember()
        else:
            self._adopt(options)
        if not self.home.detach:
            self.home.discard_with(self)
        live.add(self)
        at_exit()
        collector().add(self)

    def _remember(self, _cluster: Cluster | None = None) -> None:
        self.home.keep(self.workers.clusters)

    def _adopt(self, options: Options) -> None:
        """Take over what another session has left."""
        found = self.spool.adopt(options)
        for record in self.spool.fetched():
            found[record.header["id"]] = record.header
        for number in self.home.taken():
            found.pop(number, None)
        self.workers.adopt(self.home.clusters())
        for number in sorted(found):
            future = TaskFuture(self, number, str(found[number].get("label", "a call")))
            self._futures[number] = self._untaken[number] = future
        for record in self.spool.fetched():
            if record.header["id"] in self._futures:
                self._settle(record)

    # what the executor calls

    @property
    def open(self) -> int:
        """How many tasks have no result yet."""
        return len(self._futures)

    @property
    def pending(self) -> list[TaskFuture]:
        """Return futures whose results nobody has asked for."""
        with self._lock:
            return list((self._untaken if self.home.detach else self._futures).values())

    def submit(
        self,
        call: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        packed: Function | None = None,
        *,
        cache: bool = True,
    ) -> TaskFuture:
        """Take in one call; what cannot be sent is told by its future."""
        future = TaskFuture(self, next(self._numbers), dataflow.label(call, args, kwargs))
        inputs: list[Future[Any]] = dataflow.futures_in(args, kwargs)
        with self._lock:
            self._futures[future.id] = future
            if self.home.detach:
                self._untaken[future.id] = future
            if inputs:
                self.blocked.add(future.id)

        def start() -> None:
            values, named = dataflow.filled(args, kwargs) if inputs else (args, kwargs)
            self._start(future, call, values, named, packed, cache=cache)

        def fail(error: BaseException) -> None:
            self._fail([future.id], error)

        def unblock(action: Callable[[], None]) -> None:
            with self._lock:
                self.blocked.discard(future.id)
            action()

        if inputs:
            dataflow.after(inputs, lambda: unblock(start), lambda e: unblock(lambda: fail(e)), future.label)
        else:
            try:
                start()
            except Exception as error:  # noqa: BLE001 - unpicklable things raise anything
                fail(error)
        return future

    def _start(
        self,
        future: TaskFuture,
        call: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        packed: Function | None,
        *,
        cache: bool,
    ) -> None:
        if future.done():
            return
        known = self.calls.known(future, call, args, kwargs) if cache and self.calls.caches else None
        if known is not None:
            with self._lock:
                self._futures.pop(future.id, None)
            self.counts["done"] += 1
            future.settle(known)
            self._tell_finished()
            return
        task = self.calls.task(future, call, args, kwargs, packed)
        with self._lock:
            if future.id in self._futures:
                self._pending.append(task)
        collector().wake(self)

    def cancel(self, futures: Iterable[TaskFuture]) -> set[int]:
        """Take calls back that no worker has taken; return those that will not be run."""
        wanted = {future.id: future for future in futures if not future.done()}
        with self._lock:
            own = {header["id"] for header, _ in self._pending if header["id"] in wanted}
            if own:
                self._pending = [task for task in self._pending if task[0]["id"] not in own]
            free = own | self.spool.take_back(wanted)
            free |= self.blocked & set(wanted)
            for number in free:
                self._futures.pop(number, None)
                self._untaken.pop(number, None)
        for number in free:
            if Future.cancel(wanted[number]):
                self.counts["cancelled"] += 1
                wanted[number].set_running_or_notify_cancel()
        self._tell_finished()
        return free

    def cancel_all(self) -> None:
        """Take back every call that has not begun; also what workers hand out again a little later."""
        self._cancels = True
        with self._lock:
            futures = list(self._futures.values())
        self.cancel(futures)

    @property
    def remove(self) -> str:
        """The line that ends it, as a user types it."""
        return self.name_of_end or f"{name(self.handle())}.shutdown(cancel_futures=True)"

    def begun(self, future: TaskFuture) -> bool:
        """Whether a worker has taken it."""
        return self.spool.knows(future.id) and not self.spool.is_waiting(future.id)

    def running(self) -> int:
        """How many tasks workers have taken."""
        return sum(int(name.rpartition("-")[2]) for names in self.spool.claims().values() for name in names)

    def taken(self, future: TaskFuture) -> None:
        """Be told that a result was asked for; another session need not have it again."""
        if self.home.detach and self._untaken.pop(future.id, None) is not None:
            self.home.take(future.id)

    def state(self) -> str:
        """Return what tasks and workers do, in a sentence."""
        from htcmagic.functions.executorview import sentence  # noqa: PLC0415 - it draws this

        return sentence(self)

    def wait(self) -> None:
        """Wait until every task has ended."""
        with self._finished:
            while self._futures and not self.ended:
                self._finished.wait(1.0)

    def close_when_done(self) -> None:
        """End the workers as soon as every task has ended; at once if all have."""
        if self.ended:
            return
        self._closing = True
        collector().wake(self)

    def end(self, *, patient: bool = False) -> None:
        """End the workers now; tasks without results are cancelled."""
        if self.ended:
            return
        self.ended = True
        self.workers.end(patient=patient)
        collector().remove(self)
        live.discard(self)
        with self._lock:
            left = list(self._futures.values())
            self._futures.clear()
        for future in left:
            if Future.cancel(future):
                self.counts["cancelled"] += 1
                future.set_running_or_notify_cancel()
        self._tell_finished()
        if self.home.detach:
            self.home.detach = False
            self._remember()
            self.home.discard_with(self)
        self._show(final=True)

    def release(self) -> None:
        """Leave everything as it is, for another session."""
        collector().remove(self)
        live.discard(self)
        self.home.release()

    # what the collector calls

    def collect(self) -> float:
        """Hand out, take in, look after workers."""
        now = time.monotonic()
        self._flush()
        records = self.spool.poll()
        for record in records:
            self._settle(record)
        if records:
            self._last_news = now
            self.workers.progressed()
            self._tell_finished()
        self._look_after(now)
        if self._cancels and self._futures and self.spool.waiting():
            self.cancel_all()
        if now >= self._next_beat:
            self._next_beat = now + min(10.0, self.spool.options.lease_s / 6)
            self.spool.beat()
        self._show()
        if self._closing and not self._futures:
            self._closing = False
            threading.Thread(target=lambda: self.end(patient=True), name="htcmagic-end").start()
        shortest, longest, idle = REST_S
        if not self._futures:
            return min(idle if self.view is None else SHOWN_S, self.spool.options.lease_s / 6)
        return max(shortest, min(longest, (time.monotonic() - self._last_news) / 50))

    def _flush(self) -> None:
        refused: list[tuple[list[int], HTCMagicError]] = []
        with self._lock:
            tasks, self._pending = self._pending, []
            if not tasks:
                return
            self._last_news = time.monotonic()
            workers = max(1, min(self.plan.most, self.workers.alive or self.plan.most))
            for batch in batches(tasks, -(-len(tasks) // (2 * workers))):
                try:
                    self.spool.put(batch)
                except HTCMagicError as error:
                    refused.append(([header["id"] for header, _ in batch], error))
        for numbers, why in refused:
            self._fail(numbers, why)

    def _look_after(self, now: float) -> None:
        open_tasks = self.spool.open
        for number, how in self.workers.tend(open_tasks):
            times = self.spool.retries + 1
            often = "" if times == 1 else f" {times} times"
            self._fail([number], WorkerLost(f"Its worker vanished{often} while it ran this; {how}.", hint=RETRIES))
        failed, self.workers.failed = self.workers.failed, None
        if failed is not None:
            hopeless = [number for number in list(self._futures) if number not in self.blocked]
            self.spool.take_back(hopeless)
            self.spool.forget(hopeless)
            self._fail(hopeless, failed)
        if open_tasks:
            self.workers.watch()
        if open_tasks and now - self._last_news > LOST_S:
            self._look_for_lost(now)

    def _look_for_lost(self, now: float) -> None:
        nowhere = self.spool.vanished()
        if not nowhere:
            self._nowhere_since = 0.0
        elif not self._nowhere_since:
            self._nowhere_since = now
        elif now - self._nowhere_since > LOST_S:
            self.spool.forget(nowhere)
            refused = next(iter(self.spool.refused.values()), None)
            self._fail(nowhere, refused or ResultMissing("Its result is lost.", hint="Submit it again."))

    def _settle(self, record: Record) -> None:
        number = record.header["id"]
        with self._lock:
            future = self._futures.pop(number, None)
        if future is None:
            return
        outcome = self.calls.ended(future, record, self._stderr(record))
        self.counts["done" if outcome.ok else "failed"] += 1
        with contextlib.suppress(InvalidStateError):
            future.settle(outcome)

    def _stderr(self, record: Record) -> str:
        cluster, _, proc = str(record.header.get("job", "")).partition(".")
        for one in self.workers.clusters:
            if str(one.id) == cluster:
                return str(one.run_dir.output_dir / f"{proc}.err")
        return ""

    def _fail(self, numbers: Iterable[int], error: BaseException) -> None:
        for number in list(numbers):
            with self._lock:
                future = self._futures.pop(number, None)
            if future is not None and not future.done():
                self.counts["failed"] += 1
                with contextlib.suppress(InvalidStateError):
                    future.set_exception(error)
        self._tell_finished()

    def _tell_finished(self) -> None:
        with self._finished:
            if not self._futures:
                self._finished.notify_all()

    def _show(self, *, final: bool = False) -> None:
        if self.view is not None:
            self.view(final)


RETRIES = "More chances: Executor(retries=…). If it needs more memory than its worker asked for: request_memory=…"
