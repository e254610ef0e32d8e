"""A leg of a map whose jobs take its items from a spool: short calls in large batches, long ones one by one."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from pathlib import Path

from htcmagic.errors import HTCMagicError, ResultMissing
from htcmagic.functions import mapindex, mapitems
from htcmagic.functions.batches import Task
from htcmagic.functions.mapindex import AGAIN, WAITING
from htcmagic.functions.maplegs import SPOOL, Leg, Told, work
from htcmagic.functions.payload import Function
from htcmagic.functions.place import Place
from htcmagic.functions.remote import records
from htcmagic.functions.spool import Options, Spool, argument
from htcmagic.jobs.cluster import Cluster
from htcmagic.jobs.model import JobState
from htcmagic.jobs.rundir import RunDir
from htcmagic.pool.client import Client

BATCH, BATCH_BYTES = 1000, 4 << 20
"""Most tasks that are handed out together, and most bytes."""
ROUNDS = 8
"""Batches for each worker, so that all have enough to do and none has too much."""
RETRIES = 2
"""How often a call is run again whose worker vanished while it ran it."""
OURS = "-"
SETTLED_S = 0.05
"""A folder changed less than this ago may have changed again without showing it."""
ANYWAY_S = 1.0
LOOK_S = 1.0
"""How often it is looked whether workers have vanished."""
GONE_S = 3.0
"""So long a job with tasks is not running before its worker counts as gone: the event log is a little behind."""
END_S = 1.5
"""How long workers have to end by themselves when all results are in."""


class SpoolLeg(Leg):
    """Workers that share their items among them."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self.held: dict[int, int] = {}
        """Items that were running when their workers were held, and these jobs."""
        self.over = False
        """Whether there is nothing more to look after."""
        self._ran: dict[int, int] = {}
        self._tries: dict[int, int] = {}
        self._idle_since: dict[str, float] = {}
        self._known: set[str] = set()
        self._mtime = 0
        self._settled = False
        self._next_listing = self._next_look = self._ending = 0.0
        self._first = 0

    def changed(self, procs: set[int]) -> None:
        """Look after the workers soon; jobs' states alone say nothing of items."""
        del procs
        self._next_look = 0.0
        self._arrived([])

    def job(self, item: int) -> int:
        """Return the job that was running an item when that was held or lost."""
        found = self.held.get(item, self._ran.get(item))
        return self._bad() if found is None else found

    def _bad(self) -> int:
        """Return a job that ended badly, as the reason why nobody runs what is left."""
        if self.cluster is None:
            return -1
        bad = {JobState.FAILED, JobState.REMOVED}
        return next((proc for proc, state in sorted(self.cluster.tracker.states.items()) if state in bad), 0)

    def state(self, item: int) -> JobState:
        """Return held if its worker is held, or all are; else running or idle."""
        counts = self.counts()
        if item in self.held or counts.get(JobState.HELD, 0) > len(self.held):
            return JobState.HELD
        return JobState.RUNNING if counts.get(JobState.RUNNING, 0) else JobState.IDLE

    def counts(self) -> dict[JobState, int]:
        """Return how many items run and are held; the others wait."""
        if self.cluster is None or self.over:
            return {}
        jobs = self.cluster.summary().counts
        running = jobs.get(JobState.RUNNING, 0)
        stopped = jobs.get(JobState.HELD, 0) and not running and not jobs.get(JobState.IDLE, 0)
        return {JobState.RUNNING: running, JobState.HELD: len(self.ids) if stopped else len(self.held)}

    def stuck(self) -> list[int]:
        """Return held items, and all if no worker is left that may take them."""
        if self.cluster is None or self.over:
            return []
        jobs = self.cluster.summary().counts
        if jobs.get(JobState.RUNNING, 0) or jobs.get(JobState.IDLE, 0):
            return sorted(self.held)
        return [item for item in self.ids if self._open(item)]

    def clear(self, items: set[int]) -> None:
        """Remove the held jobs of items that are run again."""
        procs = sorted({proc for item, proc in self.held.items() if item in items})
        if self.cluster is not None and not procs and items.intersection(self.stuck()):
            procs = [proc for proc, state in list(self.cluster.tracker.states.items()) if state is JobState.HELD]
        self.held = {item: proc for item, proc in self.held.items() if proc not in procs}
        self.remove("its item is run again", procs)

    def _open(self, item: int) -> bool:
        return self.index.legs[item] == self.number and self.index.states[item] == WAITING

    # what the map's thread calls

    def tick(self) -> bool:
        """Look for new results and vanished workers; return whether there was something new."""
        if self.over or self.cluster is None:
            return False
        ended = self.cluster.ended
        new = self._fetch(anyway=ended)
        if self._finished():
            self._end()
        elif ended:
            self._settle()
        elif time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + LOOK_S
            self._look()
        return new

    def _finished(self) -> bool:
        while self._first < len(self.ids) and not self._open(self.ids[self._first]):
            self._first += 1
        return self._first >= len(self.ids)

    def _fetch(self, *, anyway: bool) -> bool:
        folder = self.folders.results
        try:
            mtime = folder.stat().st_mtime_ns
            if mtime == self._mtime and self._settled and not anyway and time.monotonic() < self._next_listing:
                return False
            self._mtime, self._settled = mtime, time.time() - mtime / 1e9 > SETTLED_S
            self._next_listing = time.monotonic() + ANYWAY_S
            names = [n for n in os.listdir(folder) if n[0] != "." and n not in self._known]  # noqa: PTH208 - often
        except OSError:
            return False
        for name in sorted(names):
            self._known.add(name)
            self._take(folder / name, -1)
        return bool(names)

    def _take(self, path: Path, proc: int) -> bool:
        taken = super()._take(path, proc)
        if (error := self.why.pop(-1, None)) is not None:  # whose results they were is not to be known
            self.why[0] = error
        return taken

    def _settle(self) -> None:
        """Take in that no job is left."""
        assert self.cluster is not None  # noqa: S101 - its jobs have ended
        for name, worker, batch in self._claims():
            for header, _ in self._tasks(self.folders.path / "claimed" / name)[:1]:
                if (proc := _proc(worker)) >= 0 and batch:
                    self._ran[header["id"]] = proc
        left = [item for item in self.ids if self._open(item)]
        removed = self.cluster.tracker.state(self._bad()) is JobState.REMOVED
        self._lose(left, removed=removed)
        self.over = True

    def _end(self) -> None:
        """End what is left of its jobs: all results are in."""
        assert self.cluster is not None  # noqa: S101 - there was something to do
        if not self._ending:
            self._ending = time.monotonic() + END_S
            Spool(self.folders.path).stop()
        if self.cluster.ended or time.monotonic() < self._ending:
            self.over = self.cluster.ended
            return
        self._ending = time.monotonic() + 30
        with contextlib.suppress(HTCMagicError):
            self.remove("all results are in")
            self.over = True

    def _claims(self) -> Iterator[tuple[str, str, str]]:
        """Yield files of batches that were taken: name, worker, batch."""
        try:
            names = os.listdir(self.folders.path / "claimed")  # noqa: PTH208 - often
        except OSError:
            return
        for name in names:
            worker, mark, batch = name.partition("~")
            if mark and not name.startswith("."):
                yield name, worker, batch

    def _tasks(self, file: Path) -> list[Task]:
        """Return the tasks of a batch that have no result."""
        try:
            return [task for task in records.split(file.read_bytes()) if self._open(task[0]["id"])]
        except (OSError, ValueError, LookupError):
            return []

    def _look(self) -> None:
        """Give back what workers had taken that are gone or held."""
        assert self.cluster is not None  # noqa: S101 - tick has looked
        newest = self._newest()
        now, seen = time.monotonic(), set()
        held: dict[int, int] = {}
        for name, worker, batch in list(self._claims()):
            proc = _proc(worker)
            state = self.cluster.tracker.state(proc) if proc >= 0 else JobState.IDLE
            if state is JobState.HELD:
                held |= dict.fromkeys(self._put_aside(name, worker, batch), proc)
            elif state.final or (state is JobState.RUNNING and newest.get(proc, worker) != worker):
                self._give_back(name, batch, proc)
            elif state is not JobState.RUNNING:
                seen.add(name)
                if now - self._idle_since.setdefault(name, now) > GONE_S:
                    self._give_back(name, batch, proc)
        self._idle_since = {name: since for name, since in self._idle_since.items() if name in seen}
        if held != self.held:
            self.held = held
            self._arrived([])

    def _newest(self) -> dict[int, str]:
        """Return the worker that each job started last."""
        found: dict[int, tuple[float, str]] = {}
        try:
            with os.scandir(self.folders.path / "workers") as entries:
                for entry in entries:
                    if not entry.name.startswith("."):
                        proc = _proc(entry.name)
                        found[proc] = max(found.get(proc, (0.0, "")), (entry.stat().st_mtime, entry.name))
        except OSError:
            return {}
        return {proc: name for proc, (_, name) in found.items()}

    def _put_aside(self, name: str, worker: str, batch: str) -> list[int]:
        """Leave a held worker the call that it was running; hand the others out anew."""
        file = self.folders.path / "claimed" / name
        tasks = self._tasks(file)
        if len(tasks) > 1:
            self._write(f"claimed/{worker}~{_seq(batch)}.{secrets.token_hex(4)}-1", tasks[:1])
            self._hand_out(batch, tasks[1:])
            file.unlink(missing_ok=True)
        elif not tasks:
            file.unlink(missing_ok=True)
        return [header["id"] for header, _ in tasks[:1]]

    def _give_back(self, name: str, batch: str, proc: int) -> None:
        """Hand out anew what a worker had taken that is gone; what it was running not for ever."""
        mine = self.folders.path / "claimed" / f"{OURS}~{batch}"
        try:
            (self.folders.path / "claimed" / name).rename(mine)
        except FileNotFoundError:
            return
        tasks = self._tasks(mine)
        if tasks:
            first = tasks[0][0]["id"]
            self._tries[first] = self._tries.get(first, 0) + 1
            if self._tries[first] > RETRIES:
                self._ran[first] = proc
                self.why[proc] = ResultMissing(
                    f"Item {first} has no result: its worker vanished {self._tries[first]} times.", hint=AGAIN
                )
                self._lose([first], removed=False)
                tasks = tasks[1:]
        self._hand_out(batch, tasks)
        mine.unlink(missing_ok=True)

    def _hand_out(self, batch: str, tasks: Iterable[Task]) -> None:
        for number, task in enumerate(tasks):
            self._write(f"tasks/{_seq(batch)}.{number:04}{secrets.token_hex(4)}-1", [task])

    def _write(self, name: str, tasks: list[Task]) -> None:
        with contextlib.suppress(OSError):
            records.save(self.folders.path / name, [(header, [("args", body)]) for header, body in tasks])


def _proc(worker: str) -> int:
    word = worker.partition(".")[0]
    return int(word) if word.isdigit() else -1


def _seq(batch: str) -> str:
    return batch.partition("-")[0].partition(".")[0]


def send_spool(told: Told, leg: Told, tasks: Path, function: Function, place: Place, client: Client) -> Cluster:
    """Hand out items and send workers for them; on failure nothing is left."""
    from htcmagic.functions import jobs  # noqa: PLC0415

    run_dir = RunDir(Path(leg["folder"]))
    ids, workers = mapindex.unpacked(leg["ids"]), int(leg["workers"])
    try:
        spool = Spool(run_dir.path)
        with jobs.writing(run_dir.path):
            spool.make(Options(drain=True, detach=True, keep=True))
        spool.keep(function)
        for batch in _batches(tasks, ids, workers):
            spool.put(batch)
        names = [argument(spool.token, str(number)) for number in range(workers)]
        return jobs.send(work(told, place, function, names, SPOOL), client, run_dir)
    except BaseException:
        if not run_dir.record_file.exists():
            run_dir.discard()
        raise


def _batches(tasks: Path, ids: array[int], workers: int) -> Iterator[list[Task]]:
    """Yield tasks in batches, none too long and none too large."""
    most = max(1, min(BATCH, -(-len(ids) // (workers * ROUNDS))))
    batch: list[Task] = []
    size = 0
    for record in records.scan(tasks):
        place = bisect_left(ids, record.header["id"])
        if place >= len(ids) or ids[place] != record.header["id"]:
            continue
        header, parts = mapitems.task(record)
        body = parts[0][1]
        assert isinstance(body, bytes)  # noqa: S101 - it was read
        batch.append((header, body))
        size += len(body)
        if len(batch) >= most or size > BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
