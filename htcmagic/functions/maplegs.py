"""The jobs behind a map: each time some were sent is a leg, with items of its own."""

from __future__ import annotations

import json
import math
import os
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from htcmagic.errors import HTCMagicError, JobError, JobFailed, JobRemoved, PythonMismatch, ResultMissing, WorkerLost
from htcmagic.functions import jobs, mapindex, mapitems
from htcmagic.functions.mapindex import AGAIN, LOST, REMOVED, WAITING, Index
from htcmagic.functions.payload import Function
from htcmagic.functions.place import Place
from htcmagic.jobs import sending
from htcmagic.jobs.cluster import NOT_SET_UP, Cluster, attach
from htcmagic.jobs.display import clean
from htcmagic.jobs.follower import follower
from htcmagic.jobs.model import JobState
from htcmagic.jobs.rundir import RunDir
from htcmagic.pool.client import Client, client

STATIC, SPOOL = "static", "pull"
MISMATCH = "PythonMismatch: "
PLACES = "Say where Python comes from: python=PATH, container=IMAGE, stack=NAME, or ship_env=True"
NEVER = "It was never sent."
Told = dict[str, Any]
Arrived = Callable[[Sequence[int]], None]


class Leg:
    """Jobs that were sent for some of a map's items.

    Parameters
    ----------
    number : int
        Which of the map's legs.
    told : dict
        What the map's record says of it: ``run``, ``mode``, ``chunk``, ``ids``.
    index : Index
        Where results are noted; with ``index.lock`` held.
    arrived : callable
        Takes the items that came to an end.
    """

    def __init__(self, number: int, told: Told, index: Index, arrived: Arrived) -> None:
        self.number = number
        self.told = told
        self.ids = mapindex.unpacked(told["ids"])
        self.chunk = int(told["chunk"])
        self.index = index
        self.run_dir = RunDir(Path(told["folder"]))
        self.folders = jobs.Folders(self.run_dir.path)
        self.cluster: Cluster | None = None
        self.why: dict[int, HTCMagicError] = {}
        """What is to be raised for jobs whose results cannot be read."""
        self._arrived = arrived

    def follow(self, cluster: Cluster | None = None) -> None:
        """Look after its jobs from now on; what has happened before is taken in now."""
        cluster = cluster or _cluster(self.run_dir)
        if cluster is None:
            self._lose(self.ids, removed=False)
            return
        self.cluster = cluster
        cluster.watchers.append(self.changed)
        follower().catch_up(cluster)
        self.changed(set(range(cluster.tracker.procs)))

    def leave(self) -> None:
        """Look after its jobs no more."""
        if self.cluster is not None and self.changed in self.cluster.watchers:
            self.cluster.watchers.remove(self.changed)

    def changed(self, procs: set[int]) -> None:
        """Be told that jobs have changed; in any thread."""
        raise NotImplementedError

    def state(self, item: int) -> JobState:
        """Return how it stands with an item that has not come to an end."""
        raise NotImplementedError

    def job(self, item: int) -> int:
        """Return the job that ran or runs an item; below 0 if none does."""
        raise NotImplementedError

    def counts(self) -> dict[JobState, int]:
        """Return its items that have not come to an end, by how their jobs stand."""
        raise NotImplementedError

    def stuck(self) -> list[int]:
        """Return items that do not come to an end by themselves: held ones, and those that nobody will run."""
        raise NotImplementedError

    def clear(self, items: set[int]) -> None:
        """Remove the held jobs of items that are run again."""
        raise NotImplementedError

    def tick(self) -> bool:
        """Be told that time passes, in the maps' thread; return whether there was something new."""
        return False

    over = True
    """Whether time may pass without telling it."""

    def error(self, item: int) -> BaseException:
        """Return what to raise for an item that has no result and will have none."""
        proc = self.job(item)
        if proc in self.why:
            return self.why[proc]
        if self.cluster is None:
            return ResultMissing(f"Item {item} has no result. {NEVER}", hint=AGAIN)
        return self._why_lost(item, proc)

    def _why_lost(self, item: int, proc: int) -> BaseException:
        assert self.cluster is not None  # noqa: S101 - its jobs are known
        job = f"{self.cluster.id}.{proc}"
        if (state := self.cluster.tracker.state(proc)) is JobState.REMOVED:
            reason = clean(self.cluster.tracker.reasons.get(proc, ""), 300)
            return JobRemoved(
                f"Item {item} has no result: its job {job} was removed{_after(reason)}", job=job, hint=AGAIN
            )
        said = self.said(proc)
        exited = self.cluster.tracker.exits.get(proc)
        if said.startswith(MISMATCH) or (said and exited is not None and exited.code == NOT_SET_UP):
            told = clean(said.removeprefix(MISMATCH), 500)
            return PythonMismatch(f"Job {job}: {told}.", job=job, hint=PLACES)
        if exited is not None and state is JobState.FAILED:
            how = f"signal {exited.signal}" if exited.signal is not None else f"exit code {exited.code}"
            told = f": {clean(said, 300)}" if said else "."
            return (JobFailed if said else WorkerLost)(
                f"Item {item} has no result: its job {job} ended with {how}{told}", job=job, hint=AGAIN
            )
        return ResultMissing(f"Item {item} has no result, though its job {job} has ended.", job=job, hint=AGAIN)

    def said(self, proc: int) -> str:
        """Return the last line of ours in a job's standard error."""
        try:
            text = self.cluster.stderr(proc) if self.cluster is not None else ""
        except HTCMagicError:
            return ""
        lines = [line.removeprefix("htcmagic: ") for line in text.splitlines() if line.startswith("htcmagic: ")]
        return lines[-1] if lines else ""

    def remove(self, why: str, procs: Iterable[int] | None = None) -> int:
        """Remove its jobs, or some of them; return how many there were."""
        if self.cluster is None:
            return 0
        if procs is None:
            return self.cluster.rm(why) if not self.cluster.done else 0
        names = [f"{self.cluster.id}.{proc}" for proc in procs]
        return int(client(self.cluster.record.pool).act("Remove", names, why)["success"]) if names else 0

    def progress(self) -> float:
        """Return how many items' worth running jobs have done of what has no result yet."""
        if self.cluster is None:
            return 0.0
        states, tracker = self.index.states, self.cluster.tracker
        return math.fsum(
            fraction
            for fraction, task in list(tracker.progress.values())
            if isinstance(task, int) and 0 <= task < len(states) and states[task] == WAITING
        )

    def _lose(self, items: Iterable[int], *, removed: bool) -> list[int]:
        """Note that items will have no result."""
        with self.index.lock:
            lost = [
                item
                for item in items
                if self.index.legs[item] == self.number
                and self.index.states[item] == WAITING
                and self.index.lose(item, REMOVED if removed else LOST)
            ]
        if lost:
            self._arrived(lost)
        return lost

    def _take(self, path: Path, proc: int) -> bool:
        """Take in a file of results; False if it is not there."""
        try:
            with self.index.lock:
                found = self.index.take(path, self.number)
        except FileNotFoundError:
            return False
        except ResultMissing as error:
            self.why[proc] = error
        except (OSError, ValueError, LookupError, TypeError) as error:
            self.why[proc] = ResultMissing(f"The result file {path} cannot be read: {error}.", hint=AGAIN)
        else:
            if found:
                self._arrived(found)
        return True


class StaticLeg(Leg):
    """Jobs that have their items from the start, each so many."""

    def job(self, item: int) -> int:
        """Return the job of an item."""
        place = bisect_left(self.ids, item)
        return place // self.chunk if place < len(self.ids) and self.ids[place] == item else -1

    def items(self, proc: int) -> Sequence[int]:
        """Return a job's items."""
        return self.ids[proc * self.chunk : (proc + 1) * self.chunk]

    def changed(self, procs: set[int]) -> None:
        """Read what jobs that have ended have left."""
        assert self.cluster is not None  # noqa: S101 - it is told by that
        for proc in sorted(procs):
            state = self.cluster.tracker.state(proc)
            if state.final and any(self.index.states[item] == WAITING for item in self.items(proc)):
                path = self.folders.results / str(proc)
                if not self._take(path, proc) and state is JobState.DONE:
                    os.listdir(path.parent)  # noqa: PTH208 - file servers look again then
                    self._take(path, proc)
                self._lose(self.items(proc), removed=state is JobState.REMOVED)
        self._arrived([])

    def state(self, item: int) -> JobState:
        """Return its job's state."""
        return JobState.IDLE if self.cluster is None else self.cluster.tracker.state(self.job(item))

    def counts(self) -> dict[JobState, int]:
        """Return its items that have not come to an end, by their jobs' states."""
        if self.cluster is None or self.cluster.done:
            return {}
        counts, last = {}, len(self.ids)
        for state, number in self.cluster.summary().counts.items():
            if not state.final:
                counts[state] = min(number * self.chunk, last)
                last -= counts[state]
        return counts

    def stuck(self) -> list[int]:
        """Return the items of held jobs."""
        if self.cluster is None:
            return []
        held = [proc for proc, state in list(self.cluster.tracker.states.items()) if state is JobState.HELD]
        if self.cluster.record.held and not held and not self.cluster.tracker.states:
            held = list(range(self.cluster.tracker.procs))
        return [item for proc in sorted(held) for item in self.items(proc) if self.index.states[item] == WAITING]

    def clear(self, items: set[int]) -> None:
        """Remove the held jobs of items that are run again."""
        if self.cluster is not None:
            procs = sorted({self.job(item) for item in items.intersection(self.stuck())})
            self.remove("its items are run again", procs)

    def _why_lost(self, item: int, proc: int) -> BaseException:
        first = next((each for each in self.items(proc) if self.index.states[each] in {LOST, REMOVED}), item)
        error = super()._why_lost(first, proc)
        if first != item and isinstance(error, JobError) and not isinstance(error, JobRemoved | PythonMismatch):
            return ResultMissing(
                f"Item {item} was not run: item {first} has ended their job.", job=error.job, hint=AGAIN
            )
        return error


def _after(reason: str) -> str:
    return f": {reason}" if reason else "."


def _cluster(run_dir: RunDir) -> Cluster | None:
    """Return the cluster of a run; None if it never arrived."""
    try:
        record = run_dir.load()
        if not record.cluster:  # the answer was lost
            found = sending.find(record, client(record.pool))
            if found is None:
                return None
            run_dir.save(found)
            record = found
        return attach(run_dir, record)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def new_run(tag: str) -> RunDir:
    """Make the folder of a leg, which says of what it is."""
    from htcmagic import places  # noqa: PLC0415

    run_dir = RunDir.create(places.log_dir())
    try:
        run_dir.write(run_dir.path / "python.json", json.dumps({"kind": "map", "tag": tag}))
    except BaseException:
        run_dir.discard()
        raise
    return run_dir


def work(told: Mapping[str, Any], place: Place, function: Function, items: Sequence[str], mode: str) -> jobs.Work:
    """Return what a leg's jobs are to do."""
    return jobs.Work(
        mode,
        items,
        place,
        name=told["tag"],
        functions=[function],
        resources=told["submit"],
        inputs=told["inputs"],
        directory=told["directory"],
        max_idle=told.get("max_idle"),
    )


def send_static(told: Told, leg: Told, tasks: Path, function: Function, place: Place, client: Client) -> Cluster:
    """Send jobs that each have `chunk` items; on failure nothing is left of them."""
    run_dir = RunDir(Path(leg["folder"]))
    folders = jobs.Folders(run_dir.path)
    ids, chunk = mapindex.unpacked(leg["ids"]), int(leg["chunk"])

    def file(item: int) -> Path | None:
        place = bisect_left(ids, item)
        return folders.chunks / str(place // chunk) if place < len(ids) and ids[place] == item else None

    try:
        with jobs.writing(folders.path):
            folders.make()
            mapitems.copy(tasks, file)
    except BaseException:
        run_dir.discard()
        raise
    names = [str(number) for number in range(-(-len(ids) // chunk))]
    return jobs.send(work(told, place, function, names, STATIC), client, run_dir)
