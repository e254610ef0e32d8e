"""Clusters into batches: those that are followed by their logs and those that the feed tells of, together."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from htcmagic.pool.address import Pool
from htcmagic.pool.feed_wire import among, ranges
from htcmagic.queue.live.model import ENDED, LETTERS, LiveBatch, LiveJob

Spans = tuple[tuple[int, int, int], ...]


class Jobs(Protocol):
    """What makes a part's jobs when they are asked for."""

    def job(self, proc: int) -> LiveJob:
        """Return one job."""


@dataclass(frozen=True, slots=True)
class Part:
    """One cluster.

    Attributes
    ----------
    group : str
        What clusters of one batch share; empty for a cluster that stands alone.
    first : bool
        It gives the batch its name: DAGMan's own.
    counted : bool
        Its jobs count: not those of DAGMan itself.
    total : int
        Its jobs, however many are still there; for DAGMan itself the nodes of its DAG.
    letters, spans
        As in `LiveBatch`.
    """

    cluster: int
    pool: Pool
    name: str
    owner: str
    group: str
    submitted: float | None
    own: bool
    total: int
    counts: Mapping[str, int]
    hold: str
    letters: str
    spans: Spans
    jobs: Jobs = field(compare=False)
    gone: bool = False
    first: bool = False
    counted: bool = True


def batches(parts: Iterable[Part], *, constraint: str = "") -> tuple[LiveBatch, ...]:
    """Return the lines of the table, in the order of their first clusters.

    Parameters
    ----------
    parts : iterable of Part
        The clusters.
    constraint : str
        What jobs must fit beside; put into the batches' own constraints.
    """
    groups: dict[tuple[object, ...], list[Part]] = {}
    for part in sorted(parts, key=lambda part: (part.cluster, part.pool.key)):
        key = (part.pool.key, part.group or part.cluster)
        groups.setdefault(key, []).append(part)
    several = len({part.pool.key for members in groups.values() for part in members}) > 1
    return tuple(_batch(members, constraint, several=several) for members in groups.values())


def _batch(parts: list[Part], constraint: str, *, several: bool) -> LiveBatch:
    head = next((part for part in parts if part.first), parts[0])
    counts: Counter[str] = Counter()
    for part in parts:
        counts.update(part.counts)
    key = head.group or str(head.cluster)
    shown = [part for part in parts if part.counted] or parts
    told = sum(counts.values())
    return LiveBatch(
        key="\x1f".join([*head.pool.key, key]) if several else key,
        name=head.name,
        owner=head.owner,
        submitted=min((part.submitted for part in parts if part.submitted is not None), default=None),
        ids=_ids(shown),
        own=all(part.own for part in parts),
        total=max(head.total, told) if head.first else sum(part.total for part in shown),
        counts={state: counts[state] for state in LETTERS if counts[state] > 0},
        hold=next((part.hold for part in parts if part.hold), ""),
        progress=None,
        letters="".join([part.letters for part in shown]),
        spans=tuple([span for part in shown for span in part.spans]),
        constraint=_constraint(parts, head, constraint),
        pool=head.pool,
        gone=all(part.gone for part in parts),
        make_jobs=_Maker(shown),
    )


def _constraint(parts: list[Part], head: Part, constraint: str) -> str:
    mine = among(ranges([part.cluster for part in parts]))
    if head.first:  # nodes that are yet to be sent
        mine = f"{mine} || DAGManJobId == {head.cluster}"
    return f"({mine}) && ({constraint})" if constraint else mine


def _ids(parts: list[Part]) -> str:
    low, high = parts[0], parts[-1]
    first = low.spans[0][1] if low.spans else 0
    last = high.spans[-1][1] + high.spans[-1][2] - 1 if high.spans else high.total - 1
    if low.cluster != high.cluster:
        return f"{low.cluster}.{first} ... {high.cluster}.{max(last, 0)}"
    return f"{low.cluster}.{first}" + (f"-{last}" if last > first else "")


class _Maker:
    """Makes the jobs of a batch."""

    def __init__(self, parts: list[Part]) -> None:
        self._parts = parts

    def __call__(self, limit: int | None, offset: int, states: Collection[str] | None) -> list[LiveJob]:
        letters = None if states is None else {LETTERS[state] for state in states}
        made: list[LiveJob] = []
        for part in self._parts:
            if letters is None and offset >= len(part.letters):
                offset -= len(part.letters)
                continue
            for at, proc in wanted(part, letters):
                if offset > 0:
                    offset -= 1
                    continue
                if limit is not None and len(made) >= limit:
                    return made
                job = part.jobs.job(proc)
                made.append(
                    job if letters is None or LETTERS[job.state] == part.letters[at] else _as_told(job, part, at)
                )
        return made


def _as_told(job: LiveJob, part: Part, at: int) -> LiveJob:
    state = next(state for state, letter in LETTERS.items() if letter == part.letters[at])
    return job._replace(state=state)


def wanted(part: Part, letters: set[str] | None) -> Iterable[tuple[int, int]]:
    """Yield place in `letters` and proc of the jobs in these states."""
    at = 0
    for _, first, number in part.spans:
        if letters is None:
            yield from ((at + i, first + i) for i in range(number))
        else:
            pattern = f"[{''.join(sorted(letters))}]"
            for found in re.finditer(pattern, part.letters[at : at + number]):
                yield at + found.start(), first + found.start()
        at += number


def spans(cluster: int, procs: Iterable[int]) -> Spans:
    """Return sorted procs as runs of consecutive ones."""
    found: list[tuple[int, int, int]] = []
    first = number = -1
    for proc in procs:
        if number >= 0 and proc == first + number:
            number += 1
            continue
        if number > 0:
            found.append((cluster, first, number))
        first, number = proc, 1
    if number > 0:
        found.append((cluster, first, number))
    return tuple(found)


def ended(counts: Mapping[str, int]) -> int:
    """Return how many jobs have ended."""
    return sum(counts.get(state, 0) for state in ENDED)
