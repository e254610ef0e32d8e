"""When jobs were in which state, from event logs or from their ads: no I/O, nothing drawn."""

from __future__ import annotations

import bisect
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from htcmagic.jobs.model import JobId
from htcmagic.jobs.tracker import ABORTED, BACK_TO_IDLE, EXECUTE, HELD, SUBMIT, TERMINATED

STATES = ("done", "failed", "removed", "running", "held", "idle")
"""From the bottom to the top of the stack."""
FINAL = frozenset({"done", "failed", "removed"})
POINTS = 600
"""Times at which jobs are counted; more cannot be seen."""
LATEST = 253_000_000_000
ATTRIBUTES = (
    *("ClusterId", "ProcId", "JobStatus", "QDate", "JobStartDate", "JobCurrentStartDate", "CompletionDate"),
    *("EnteredCurrentStatus", "ExitCode", "ExitBySignal", "NumShadowStarts"),
)
UNITS = (
    (1.0, "seconds", 180.0),
    (60.0, "minutes", 3 * 3600.0),
    (3600.0, "hours", 3 * 86400.0),
    (86400.0, "days", 1e18),
)


@dataclass(slots=True)
class JobLine:
    """One job: spans of idle, running, held; its end as a span of no length."""

    job: JobId
    spans: list[tuple[str, float, float]] = field(default_factory=list)
    outcome: str = ""
    """``done``, ``failed``, ``removed``; empty as long as it has not ended."""
    ended: float = 0.0


@dataclass(slots=True)
class Timeline:
    """Jobs in the order of their submission, times in epoch seconds."""

    title: str
    jobs: list[JobLine]
    notes: list[str] = field(default_factory=list)

    @property
    def begin(self) -> float:
        """When the first was submitted."""
        return min((line.spans[0][1] for line in self.jobs if line.spans), default=0.0)

    @property
    def end(self) -> float:
        """When the last ended, or now."""
        last = max((max(line.spans[-1][2], line.ended) for line in self.jobs if line.spans), default=0.0)
        return max(last, self.begin + 1)

    @property
    def unit(self) -> tuple[float, str]:
        """Seconds of a unit of time that suits the whole, and its name."""
        span = self.end - self.begin
        return next((seconds, name) for seconds, name, most in UNITS if span <= most)

    @property
    def counts(self) -> dict[str, int]:
        """Jobs by the state they are in at the end."""
        found = Counter(line.outcome or line.spans[-1][0] for line in self.jobs if line.spans)
        return {state: found[state] for state in STATES if found[state]}

    def over_time(self) -> tuple[list[float], dict[str, list[int]]]:
        """Return times, and for each state that occurs how many jobs are in it from then on."""
        changes: dict[str, list[tuple[float, int]]] = {state: [] for state in STATES}
        for line in self.jobs:
            for state, since, until in line.spans:
                changes[state] += [(since, 1), (until, -1)]
            if line.outcome:
                changes[line.outcome].append((line.ended, 1))
            elif line.spans:
                changes[line.spans[-1][0]].pop()  # it is in this state still
        times = sorted({when for some in changes.values() for when, _ in some} | {self.begin, self.end})
        if len(times) > POINTS:
            width = (self.end - self.begin) / (POINTS - 1)
            times = [self.begin + width * number for number in range(POINTS - 1)] + [self.end]
        return times, {state: _counted(times, some) for state, some in changes.items() if some}


def _counted(times: Sequence[float], changes: Iterable[tuple[float, int]]) -> list[int]:
    steps = [0] * (len(times) + 1)
    for when, change in changes:
        steps[bisect.bisect_left(times, when)] += change
    total, counts = 0, []
    for step in steps[:-1]:
        total += step
        counts.append(total)
    return counts


def from_story(cluster: int, story: dict[str, Any], *, held: bool = False, now: float | None = None) -> list[JobLine]:
    """Return the jobs of a cluster as its event log tells of them.

    Parameters
    ----------
    held : bool
        Whether they were submitted on hold: of that a log has no event.
    now : float, optional
        Until when jobs that have not ended are drawn.
    """
    lines: dict[int, JobLine] = {}
    open_since: dict[int, tuple[str, float]] = {}
    for kind, proc, when, details in story["events"]:
        line = lines.get(proc)
        if line is None:
            line = lines[proc] = JobLine(JobId(cluster, proc))
        if line.outcome:
            continue
        before = open_since.pop(proc, None)
        state = _after(kind, held=held)
        if state and before and before[0] == state:
            open_since[proc] = before
            continue
        if before:
            line.spans.append((before[0], before[1], max(when, before[1])))
        if state:
            open_since[proc] = (state, when)
        else:
            line.outcome, line.ended = _outcome(kind, details), when
            if not line.spans:
                line.spans.append(("idle", when, when))
    now = time.time() if now is None else now
    for proc, (state, since) in open_since.items():
        lines[proc].spans.append((state, since, max(now, since)))
    return list(lines.values())


def _after(kind: int, *, held: bool) -> str:
    """Return the state after an event; empty after the last."""
    if kind == EXECUTE:
        return "running"
    if kind == HELD or (kind == SUBMIT and held):
        return "held"
    return "idle" if kind == SUBMIT or kind in BACK_TO_IDLE else ""


def _outcome(kind: int, details: Sequence[Any]) -> str:
    if kind == TERMINATED:
        return "done" if details[0] and details[1] == 0 else "failed"
    return "removed" if kind == ABORTED else "failed"


def from_rows(rows: Iterable[tuple[Any, ...]], now: float | None = None) -> tuple[list[JobLine], int]:
    """Return jobs from their ads' values, and how many of them ran more than once: of that ads tell the last time."""
    now = time.time() if now is None else now
    lines, again = [], 0
    for row in rows:
        line = _line(row, now)
        if line is not None:
            lines.append(line)
            again += isinstance(row[10], int) and row[10] > 1
    return lines, again


def _line(row: tuple[Any, ...], now: float) -> JobLine | None:
    cluster, proc, status, queued, first, last, completed, entered, code, by_signal = row[:10]
    begin = _time(queued)
    if begin is None or not isinstance(cluster, int) or not isinstance(proc, int):
        return None
    line = JobLine(JobId(cluster, proc))
    final = status in {3, 4}
    since = _time(entered) or now
    end = max(begin, (_time(completed) or since) if final else now)
    start = _time(last) or _time(first)
    ran_until = end if status in {2, 3, 4, 6, 7} else max(begin, since)
    if start is None or start > end:
        line.spans.append(("idle", begin, end if status != 5 else ran_until))
    else:
        start = max(begin, start)
        line.spans += [("idle", begin, start), ("running", start, max(start, ran_until))]
    if status == 5:
        line.spans.append(("held", line.spans[-1][2], end))
    elif status == 1 and line.spans[-1][0] == "running":
        line.spans.append(("idle", line.spans[-1][2], end))
    if final:
        bad = by_signal is True or code not in {0, None}
        line.outcome, line.ended = "removed" if status == 3 else "failed" if bad else "done", end
    return line


def _time(value: Any) -> float | None:
    known = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if known and 0 < value < LATEST else None
