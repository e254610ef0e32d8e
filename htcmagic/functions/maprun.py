"""What there is of a map beside its user's view: its files, its legs, and what has come to an end."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from htcmagic.errors import HTCMagicError, ResultMissing
from htcmagic.functions import mapitems, memo, results, tags
from htcmagic.functions.mapindex import AGAIN, FAILED, LOCAL, LOST, OK, REMOVED, WAITING, Index, packed
from htcmagic.functions.maplegs import SPOOL, STATIC, Leg, StaticLeg, new_run, send_static
from htcmagic.functions.mapspool import SpoolLeg, send_spool
from htcmagic.functions.mapwatch import watch
from htcmagic.functions.payload import Function
from htcmagic.functions.place import place
from htcmagic.functions.tags import MapDir
from htcmagic.jobs.model import JobState
from htcmagic.pool import resolve

KEY_BYTES = 20
MOST_WORKERS, MOST_IDLE = 500, 20
"""Of a map that shares its items among them: jobs altogether, and made by the schedd before they start."""
NEWS_S = 0.5
REMOVED_S = 5.0
"""So long it may take until removed jobs are gone."""
REFRESH_S = 2.0
"""How often it is looked whether another session has sent jobs for the same map."""


class Run:
    """A map's files, legs and results.

    Parameters
    ----------
    folder : MapDir
        Its files.
    """

    def __init__(self, folder: MapDir) -> None:
        self.folder = folder
        self.told = folder.load()
        self.index = Index(int(self.told["count"]))
        self.legs: list[Leg] = []
        self.news = threading.Condition()
        self.listeners: list[Callable[[Sequence[int]], None]] = []
        self.ended = 0.0
        self.late: set[int] = set()
        """Items whose inputs are still to come."""
        self._read_files: set[str] = set()
        self._uncached: list[int] = []
        self._ticking = threading.Lock()
        self._seen = 0
        self._next_refresh = self._next_news = 0.0

    @staticmethod
    def was_sent(folder: MapDir) -> bool:
        """Whether jobs may have been sent for a map."""
        try:
            return bool(folder.load()["legs"])
        except HTCMagicError:
            return False

    # what is known

    def refresh(self, *, now: bool = False) -> None:
        """Take in what other sessions have done, unless one of them is just about to do something."""
        if not now and time.monotonic() < self._next_refresh:
            return
        self._next_refresh = time.monotonic() + REFRESH_S
        with contextlib.suppress(OSError):  # busy, or overwritten by another session
            if self.folder.record_file.stat().st_mtime_ns != self._seen:
                with self.alone(wait=now):
                    self._refresh()

    def _refresh(self) -> None:
        seen = self.folder.record_file.stat().st_mtime_ns
        if seen != self._seen:
            self._seen, self.told = seen, self.folder.load()
            for number, told in enumerate(self.told["legs"]):
                if number >= len(self.legs):
                    self._follow(number, told)
            self.take_local()

    def _follow(self, number: int, told: dict[str, Any], cluster: Any = None) -> Leg:
        kind = StaticLeg if told["mode"] == STATIC else SpoolLeg
        leg: Leg = kind(number, told, self.index, self.arrived)
        self.legs.append(leg)
        with self.index.lock:
            self.index.begin(leg.ids, number)
        leg.follow(cluster)
        watch(self)
        return leg

    def take_local(self) -> None:
        """Read results that no job has brought."""
        found: list[int] = []
        for entry in sorted(os.scandir(self.folder.results_dir), key=lambda one: one.name):
            if entry.name not in self._read_files and not entry.name.startswith("."):
                self._read_files.add(entry.name)
                with contextlib.suppress(OSError, ValueError, LookupError, ResultMissing), self.index.lock:
                    found += self.index.take(Path(entry.path), LOCAL)
        self.arrived(found)

    def arrived(self, items: Sequence[int]) -> None:
        """Tell everybody who waits that items have come to an end, or that something else is new."""
        if items and self.told.get("cached"):
            self._uncached.extend(items)
        if not self.index.waiting and not self.ended:
            self.ended = self._last_change()
        for listener in tuple(self.listeners):
            listener(items)
        with self.news:
            self.news.notify_all()

    def _last_change(self) -> float:
        """Return when the last result came."""
        folders = [self.folder.results_dir, *(leg.folders.results for leg in self.legs)]
        ends = [leg.cluster.summary().ended or 0.0 for leg in self.legs if isinstance(leg, StaticLeg) and leg.cluster]
        with contextlib.suppress(OSError):
            ends += [folder.stat().st_mtime for folder in folders]
        return max(ends, default=0.0) or time.time()

    @property
    def done(self) -> bool:
        """Whether every item has come to an end."""
        return not self.index.waiting

    def state(self, item: int) -> JobState:
        """Return how it stands with an item."""
        state = self.index.states[item]
        if state != WAITING:
            return {OK: JobState.DONE, REMOVED: JobState.REMOVED}.get(state, JobState.FAILED)
        leg = self.leg(item)
        return JobState.IDLE if leg is None else leg.state(item)

    def leg(self, item: int) -> Leg | None:
        """Return the leg that brings an item."""
        number = self.index.legs[item]
        return self.legs[number] if 0 <= number < len(self.legs) else None

    def counts(self) -> Counter[JobState]:
        """Return how many items there are of each state."""
        totals = self.index.totals
        found: Counter[JobState] = Counter()
        found[JobState.DONE] = totals[OK]
        found[JobState.FAILED] = totals[FAILED] + totals[LOST]
        found[JobState.REMOVED] = totals[REMOVED]
        left = totals[WAITING]
        for leg in self.legs:
            for state, number in leg.counts().items():
                if state in {JobState.RUNNING, JobState.HELD}:
                    found[state] += min(number, left)
                    left -= min(number, left)
        found[JobState.IDLE] = left
        return found

    def outcome(self, item: int) -> results.Outcome:
        """Return the result of an item that has one."""
        with self.index.lock:
            record = self.index.record(item)
        stderr = self._stderr(item, record.header["job"])
        return results.Outcome(record, self.folder.files_dir(item), stderr, f"item {item}")

    def _stderr(self, item: int, job: str) -> str:
        leg, proc = self.leg(item), job.rpartition(".")[2]
        return str(leg.run_dir.output_dir / f"{proc}.err") if leg is not None and proc else ""

    def error(self, item: int) -> BaseException | None:
        """Return what an item raised, or why it has no result; None if it is well, or not at its end."""
        state = self.index.states[item]
        if state == FAILED:
            try:
                outcome = self.outcome(item)
                if outcome.record.header.get("local"):
                    return mapitems.failure_of(outcome.record)
                error = outcome.exception()
            except HTCMagicError as missing:
                return missing
            return _named(error, item, self.index.count)
        if state not in {LOST, REMOVED}:
            return None
        leg = self.leg(item)
        return leg.error(item) if leg is not None else ResultMissing(f"Item {item} has no result.", hint=AGAIN)

    # what is done

    def function(self) -> Function:
        """Return the function as it was sent."""
        try:
            return Function(self.told["function"], self.folder.function_file.read_bytes(), self.told["label"])
        except OSError as error:
            raise HTCMagicError(
                f"The files of the map {self.folder.tag!r} are gone: {error.filename}.",
                hint="Run it again: htcmagic.map(…, overwrite=True)",
            ) from None

    @contextlib.contextmanager
    def alone(self, *, wait: bool = True) -> Iterator[None]:
        """Keep other threads and sessions from changing the same map meanwhile."""
        descriptor = os.open(self.folder.path, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            yield
        finally:
            os.close(descriptor)

    def send(self, items: Sequence[int], submit: dict[str, str] | None = None) -> Leg:
        """Send jobs for some items.

        Parameters
        ----------
        items : sequence of int
            Which, ascending.
        submit : dict, optional
            Submit commands that win over those of the map.
        """
        with self.alone():
            self._refresh()
            told = {**self.told, "submit": {**self.told["submit"], **(submit or {})}, "tag": self.folder.tag}
            where, function = place(**told["where"]), self.function()
            client = resolve.connect(report=_say)
            run_dir = new_run(self.folder.tag)
            mode, chunk, workers = shape(self.told["chunk"], len(items), client, told["submit"])
            if mode == SPOOL and workers > MOST_IDLE and not told.get("max_idle"):
                told["max_idle"] = MOST_IDLE
            leg = {"folder": str(run_dir.path), "mode": mode, "chunk": chunk, "ids": packed(items), "workers": workers}
            self.told["legs"].append(leg)
            self._forget_files(items)
            try:
                self._save()
                send = send_static if mode == STATIC else send_spool
                cluster = send(told, leg, self.folder.tasks_file, function, where, client)
            except BaseException:
                if not run_dir.record_file.exists():  # nothing was sent, and all know it
                    self.told["legs"].remove(leg)
                    run_dir.discard()
                    with contextlib.suppress(HTCMagicError):
                        self._save()
                raise
            self.ended = 0.0
            return self._follow(len(self.legs), leg, cluster)

    def _forget_files(self, items: Sequence[int]) -> None:
        """Delete output files of earlier runs of these items."""
        if (self.folder.path / "files").exists():
            for item in items:
                shutil.rmtree(self.folder.files_dir(item), ignore_errors=True)

    def _save(self) -> None:
        self.folder.save(self.told)
        self._seen = self.folder.record_file.stat().st_mtime_ns

    def unwell(self) -> list[int]:
        """Return the items that failed, are held, or will never come to an end by themselves."""
        legs = self.index.legs  # what failed without a leg had no inputs, and so never became a task
        found = {item for item in self.index.among(FAILED, LOST, REMOVED) if legs[item] != LOCAL}
        for leg in self.legs:
            found.update(item for item in leg.stuck() if self.index.legs[item] == leg.number)
        return sorted(found - self.late)

    def clear(self, items: Iterable[int]) -> None:
        """Remove the held jobs of items that are run again."""
        wanted = set(items)
        for leg in self.legs:
            leg.clear(wanted)

    def remove(self, why: str = "removed from a notebook") -> int:
        """Remove all its jobs; return how many there were."""
        number = sum(leg.remove(why) for leg in self.legs)
        if self.late:
            late, self.late = sorted(self.late), set()
            with self.index.lock:
                self.arrived([item for item in late if self.index.lose(item, REMOVED)])
        return number

    def discard(self) -> None:
        """Delete it all; its jobs are gone."""
        for leg in self.legs:
            leg.leave()
            if leg.cluster is not None:
                leg.cluster.pause(REMOVED_S)  # HTCondor writes the event log until then, into a new folder if it must
            tags.delete(leg.run_dir.path)
            leg.run_dir.discard()  # what is elsewhere
        self.folder.discard()

    def tick(self) -> tuple[bool, bool]:
        """Be told that time passes; return whether there was something new, and whether to come again."""
        self.refresh()
        new = False
        with self._ticking:
            for leg in self.legs:
                new |= not leg.over and leg.tick()
        self.cache()
        if new or time.monotonic() > self._next_news:
            self._next_news = time.monotonic() + NEWS_S
            self.arrived([])  # views show how time passes
        return new, not self.done or any(not leg.over for leg in self.legs)

    def cache(self) -> None:
        """Keep new results for later calls."""
        while self._uncached:
            item = self._uncached.pop()
            with contextlib.suppress(OSError, HTCMagicError), (self.folder.path / "keys").open("rb") as stream:
                stream.seek(item * KEY_BYTES)
                key = stream.read(KEY_BYTES)
                if self.index.states[item] == OK and any(key):
                    record = self.outcome(item).record
                    if not record.header.get("cached"):
                        memo.put(key.hex(), record, self.told["label"])


def shape(chunk: Any, count: int, client: Any, submit: dict[str, str]) -> tuple[str, int, int]:
    """Return mode, items a job and number of jobs."""
    if chunk != "auto":
        return STATIC, int(chunk), -(-count // int(chunk))
    cores = max(1, len(os.sched_getaffinity(0)) // _cpus(submit))
    if client.pool.personal or client.schedd.local:
        return SPOOL, 1, min(count, cores if client.pool.personal else MOST_WORKERS)
    number = min(count, MOST_WORKERS)
    return STATIC, -(-count // number), number


def _cpus(submit: dict[str, str]) -> int:
    word = submit.get("request_cpus", "1")
    return max(1, int(word)) if word.isdigit() else 1


def _named(error: BaseException, item: int, count: int) -> BaseException:
    """Say of which item an exception is, below its remote traceback."""
    lines = getattr(error, "_render_traceback_", None)
    if lines is not None:
        with contextlib.suppress(AttributeError, TypeError):
            error._render_traceback_ = lambda: [*lines(), f"This is item {item} of {count:,}."]  # type: ignore[attr-defined]
    return error


def _say(line: str) -> None:
    import sys  # noqa: PLC0415

    sys.stderr.write(f"{line}\n")
