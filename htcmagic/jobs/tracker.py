"""The states of one cluster's jobs, kept up to date by events or by what a poll saw: no I/O."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from htcmagic.jobs.model import STATE_OF_STATUS, Exit, Hold, JobState

SUBMIT, EXECUTE, EVICTED, TERMINATED, SHADOW_EXCEPTION, GENERIC, ABORTED = 0, 1, 4, 5, 7, 8, 9
HELD, RELEASED, RECONNECT_FAILED, CLUSTER_REMOVE = 12, 13, 24, 36
"""Numbers of event types (HTCondor manual, "Job Event Log Codes")."""
ON_REQUEST = Hold("submitted on hold at user's request", 15, 0)
"""What HTCondor writes into the ads of jobs that were submitted on hold."""
TOLD = "htcmagic "
"""How generic events begin that a job of ours has written; JSON follows."""
BACK_TO_IDLE = frozenset({EVICTED, SHADOW_EXCEPTION, RELEASED, RECONNECT_FAILED})

Event = tuple[int, int, int, float, tuple[object, ...]]
Seen = tuple[int, int, Hold | None, Exit | None, str]
"""A job as a poll saw it: proc, ``JobStatus``, hold, exit, reason of removal."""


@dataclass(frozen=True, slots=True)
class Summary:
    """One look at a cluster.

    Attributes
    ----------
    counts : dict
        Jobs by state; states without jobs are left out.
    hold : Hold or None
        Reason of the first job that is held now.
    started, ended : float or None
        When the first job started; when the last one ended, if all have. Seconds since 1970, UTC.
    """

    counts: dict[JobState, int]
    procs: int
    hold: Hold | None
    hold_proc: int
    started: float | None
    ended: float | None
    progress: float = 0.0
    """How much of the running jobs is done, as they tell: 1.5 is one of them and half of another."""

    @property
    def final(self) -> bool:
        """Whether every job has ended."""
        return self.procs > 0 and sum(self.counts.get(s, 0) for s in JobState if s.final) >= self.procs


class Tracker:
    """States by proc; a job of which nothing was heard yet is idle.

    Parameters
    ----------
    cluster : int
        Its id; events of other clusters in the same log are passed over.
    procs : int
        Number of jobs, those not yet materialized included.
    held : bool
        Whether they were submitted on hold: of that a log has no event.
    """

    def __init__(self, cluster: int, procs: int, *, held: bool = False) -> None:
        self.cluster = cluster
        self.procs = procs
        self.states: dict[int, JobState] = {}
        self.holds: dict[int, Hold] = {}
        self.exits: dict[int, Exit] = {}
        self.reasons: dict[int, str] = {}
        self.progress: dict[int, tuple[float, object]] = {}
        """What running jobs tell: the fraction that is done, and of which of their tasks."""
        self._starts: dict[int, tuple[str, float]] = {}
        self._first = JobState.HELD if held else JobState.IDLE
        self._counts: Counter[JobState] = Counter({self._first: procs})
        self._first_start: float | None = None
        self._last_end: float | None = None
        self._version = 0
        self._looked: tuple[int, Summary] | None = None

    def apply(self, events: Iterable[Event]) -> set[int]:
        """Take events in; return the procs whose state changed."""
        changed = set()
        for kind, cluster, proc, when, details in events:
            if cluster != self.cluster:
                continue
            if kind == CLUSTER_REMOVE:
                changed |= self._cluster_removed(details)
            elif kind == GENERIC:
                changed |= {proc} if self._told(proc, str(details[0] or "")) else set()
            elif self._apply(kind, proc, when, details):
                changed.add(proc)
        self._version += 1
        return changed

    def _apply(self, kind: int, proc: int, when: float, details: tuple[object, ...]) -> bool:
        self.progress.pop(proc, None)
        if kind == EXECUTE:
            self._starts[proc] = (str(details[1] or details[0] or ""), when)
            if self._first_start is None:
                self._first_start = when
            return self._move(proc, JobState.RUNNING)
        if kind == TERMINATED:
            return self._terminated(proc, when, details)
        if kind == ABORTED:
            self.reasons[proc] = str(details[0] or "")
            self._last_end = when
            return self._move(proc, JobState.REMOVED)
        if kind == HELD:
            self.holds[proc] = Hold(str(details[0] or ""), _int(details[1]), _int(details[2]))
            return self._move(proc, JobState.HELD)
        if kind == SUBMIT:
            self.procs = max(self.procs, proc + 1)
        if kind == SUBMIT or kind in BACK_TO_IDLE:
            return self._move(proc, self._first if kind == SUBMIT else JobState.IDLE)
        return False

    def _told(self, proc: int, text: str) -> bool:
        """Take in how far a job says that it is; anybody may write such events."""
        before = self.progress.get(proc)
        if not text.startswith(TOLD) or self.state(proc) is not JobState.RUNNING:
            return False
        try:
            told = json.loads(text.removeprefix(TOLD))
            done, total = (float(number) for number in told["progress"])
            fraction = done / total
        except (ValueError, LookupError, TypeError, ArithmeticError, RecursionError):
            return False
        if math.isfinite(fraction):
            self.progress[proc] = (min(1.0, max(0.0, fraction)), told.get("task"))
        return self.progress.get(proc) != before

    def _terminated(self, proc: int, when: float, details: tuple[object, ...]) -> bool:
        normally, code, signal = details
        host, started = self._starts.get(proc, ("", None))
        exited = Exit(_int(code) if normally else None, None if normally else _int(signal), host, started, when)
        self.exits[proc] = exited
        self._last_end = when
        return self._move(proc, JobState.DONE if exited.ok else JobState.FAILED)

    def _cluster_removed(self, details: tuple[object, ...]) -> set[int]:
        """Jobs that were never materialized end with their factory."""
        changed = set()
        if len(self.states) < self.procs:
            for proc in range(self.procs):
                if proc not in self.states:
                    self.reasons[proc] = str(details[2] or "the cluster was removed")
                    self._move(proc, JobState.REMOVED)
                    changed.add(proc)
        return changed

    def poll(self, rows: Iterable[Seen]) -> set[int]:
        """Take in what a query saw; return the procs that changed.

        Parameters
        ----------
        rows : iterable of Seen
            What it saw.
        """
        changed = set()
        for proc, status, hold, exited, reason in rows:
            state = STATE_OF_STATUS.get(status, JobState.IDLE)
            if hold is not None:
                self.holds[proc] = hold
            if exited is not None:
                self.exits[proc] = exited
                self._last_end = max(self._last_end or 0.0, exited.ended or 0.0)
                if exited.started and (self._first_start is None or exited.started < self._first_start):
                    self._first_start = exited.started
                if state is JobState.DONE and not exited.ok:
                    state = JobState.FAILED
            if reason:
                self.reasons[proc] = reason
            if self._move(proc, state):
                changed.add(proc)
        self._version += 1
        return changed

    def end_all(self, reason: str) -> set[int]:
        """Take in that the queue itself is gone; return the procs that this removed."""
        changed = set()
        for proc in range(self.procs):
            if not self.state(proc).final:
                self.reasons[proc] = reason
                self._move(proc, JobState.REMOVED)
                changed.add(proc)
        self._version += 1
        return changed

    def state(self, proc: int) -> JobState:
        """Return one job's state."""
        return self.states.get(proc, self._first)

    def hold(self, proc: int) -> Hold | None:
        """Return why a job is held; None if it is not."""
        return self.holds.get(proc, ON_REQUEST) if self.state(proc) is JobState.HELD else None

    def start(self, proc: int) -> tuple[str, float | None]:
        """Return where and when a job's last run began; ``("", None)`` if it is not known."""
        exited = self.exits.get(proc)
        return self._starts.get(proc, ("", None) if exited is None else (exited.host, exited.started))

    def summary(self) -> Summary:
        """Return one look at the cluster; the same one until something changes, since views look ten times a second."""
        version = self._version  # taken first: what changes meanwhile makes this look an old one
        if self._looked is None or self._looked[0] != version:
            self._looked = (version, self._look())
        return self._looked[1]

    def _look(self) -> Summary:
        held = None
        if self._counts[JobState.HELD]:
            held = min((p for p, s in list(self.states.items()) if s is JobState.HELD), default=None)
        counts = {state: number for state, number in list(self._counts.items()) if number > 0}
        looked = Summary(
            counts,
            self.procs,
            None if held is None else self.hold(held),
            held or 0,
            self._first_start,
            None,
            math.fsum(fraction for fraction, _ in list(self.progress.values())),
        )
        return looked if not looked.final else Summary(counts, self.procs, None, 0, self._first_start, self._last_end)

    def _move(self, proc: int, state: JobState) -> bool:
        before = self.states.get(proc)
        if before is None:
            self.states[proc] = state
            self._counts[state] += 1
            self._counts[self._first] = self.procs - sum(n for s, n in self._counts.items() if s is not self._first)
            return True
        if before is state or before.final:  # a log that is read anew tells old stories
            return False
        self.states[proc] = state
        self._counts[before] -= 1
        self._counts[state] += 1
        return True


def _int(value: object) -> int:
    return int(value) if isinstance(value, int | float) else 0
