"""What jobs asked for and what they used, and the request lines to use next time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from htcmagic.errors import HTCMagicError
from htcmagic.queue import selection
from htcmagic.queue.frame import pandas
from htcmagic.queue.usage_jobs import ATTRIBUTES, JobUse, from_rows, from_story
from htcmagic.queue.why.words import amount, counted, listed, request

if TYPE_CHECKING:
    import pandas as pd

LIMIT = 10_000
FEW = 10
"""Fewer jobs than this say little about the next ones."""
MARGIN = 1.2
AFTER_FAILURE = 1.5
"""Jobs stopped for their memory would have used more than was seen: ask for so many times what they had."""
OUTLIERS = 0.01
"""Share of jobs that may be left above the advice; they are named."""
GIB = 1024.0


@dataclass(frozen=True, slots=True)
class Measure:
    """One resource over all jobs: memory and disk in MiB, cpus in cores kept busy on average.

    Attributes
    ----------
    jobs : int
        Of how many jobs the use is known; without any the figures are None.
    asked_min, asked_max : float or None
        What was asked for.
    """

    resource: str
    unit: str
    jobs: int
    asked_min: float | None
    asked_max: float | None
    min: float | None = None
    median: float | None = None
    p90: float | None = None
    p95: float | None = None
    max: float | None = None


@dataclass(frozen=True, slots=True)
class Advice:
    """A submit line for next time, and what it rests on."""

    resource: str
    submit: str
    says: str


class Usage:
    """The answer of ``%condor_usage``.

    Attributes
    ----------
    jobs : list of JobUse
        One each, also those that never ran.
    measures : list of Measure
        Memory, disk and cores.
    advice : list of Advice
        Request lines to use next time.
    warnings : list of str
        What the figures do not tell.
    """

    def __init__(
        self, title: str, jobs: Sequence[JobUse], sources: Sequence[str] = (), notes: Sequence[str] = ()
    ) -> None:
        self.title = title
        self.jobs = list(jobs)
        self.sources = list(sources)
        self.ran = [job for job in self.jobs if job.ran]
        self.measures = [
            _measure("memory", "MiB", [(job.memory_asked_mib, job.memory_used_mib or None) for job in self.ran]),
            _measure("disk", "MiB", [(job.disk_asked_mib, job.disk_used_mib or None) for job in self.ran]),
            _measure("cpus", "cores", [(job.cpus_asked, job.cores_used) for job in self.ran]),
        ]
        self.over_memory = [job for job in self.jobs if job.over_memory]
        self.advice = [told for told in (_memory(self), _disk(self), _cpus(self)) if told is not None]
        self.warnings = [*notes, *_warnings(self)]

    @property
    def submit_lines(self) -> list[str]:
        """The lines to put into the description."""
        return [advice.submit for advice in self.advice]

    @property
    def wasted(self) -> dict[str, float]:
        """Hours paid for, and how many were not used: ``core_hours``, ``memory_gib_hours``; of jobs with figures."""
        told = dict.fromkeys(
            ("core_hours", "core_hours_wasted", "memory_gib_hours", "memory_gib_hours_wasted", "core_hours_failed"), 0.0
        )
        for job in self.ran:
            hours, cores = job.wall_s / 3600, job.cpus_asked or 1.0
            if job.state in {"failed", "removed", "held"}:
                told["core_hours_failed"] += hours * cores
            if job.cpu_s is not None and job.cores_used is not None:
                told["core_hours"] += hours * cores
                told["core_hours_wasted"] += max(0.0, hours * cores - job.cpu_s / 3600)
            if job.memory_used_mib and job.memory_asked_mib:
                told["memory_gib_hours"] += hours * job.memory_asked_mib / GIB
                told["memory_gib_hours_wasted"] += hours * max(0.0, job.memory_asked_mib - job.memory_used_mib) / GIB
        return told

    def measure(self, resource: str) -> Measure:
        """Return the figures of ``memory``, ``disk`` or ``cpus``."""
        return next(measure for measure in self.measures if measure.resource == resource)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the single jobs as plain Python, fit for JSON."""
        states: dict[str, int] = {}
        for job in self.jobs:
            states[job.state] = states.get(job.state, 0) + 1
        return {
            "title": self.title,
            "jobs": len(self.jobs),
            "states": states,
            "sources": self.sources,
            "measures": {measure.resource: asdict(measure) for measure in self.measures},
            "advice": [asdict(advice) for advice in self.advice],
            "over_memory": [str(job.job) for job in self.over_memory],
            "wasted": self.wasted,
            "warnings": self.warnings,
        }

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return a dict a job."""
        return [asdict(job) | {"job": str(job.job), "cores_used": job.cores_used} for job in self.jobs]

    def to_dataframe(self) -> pd.DataFrame:
        """Return a pandas data frame, a row a job, the job's id as its index.

        Raises
        ------
        HTCMagicError
            Pandas is not installed.
        """
        module = pandas()
        frame: pd.DataFrame = module.DataFrame(self.to_dicts()).set_index("job")
        return frame

    def __str__(self) -> str:
        from htcmagic.queue import usage_words  # noqa: PLC0415 - which draws these values

        return usage_words.text(self)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from htcmagic.queue import usage_words  # noqa: PLC0415

        return usage_words.html(self)


def usage(
    what: Any = None,
    *,
    constraint: str = "",
    limit: int = LIMIT,
    schedd: str = "",
    pool: str = "",
    report: Any = None,
) -> Usage:
    """Compare what jobs asked for with what they used.

    Clusters of mine are read from their event logs, the others from queue and history.

    Parameters
    ----------
    what : Cluster, JobFuture, JobId, int, str or a list of them, optional
        Which jobs: a handle, an id (``17``, ``"17.3"``) or a batch name; not given: all of mine.
    constraint : str
        A ClassAd expression in place of `what`.
    limit : int
        Most jobs that have left the queue, the newest.
    schedd, pool : str
        Another pool than the one in use.
    report : callable, optional
        Gets a line when a personal pool is started.

    Raises
    ------
    NoSuchJob
        There are no such jobs.
    HTCMagicError
        None of them has run yet.
    """
    chosen = selection.choices(what, constraint=constraint, schedd=schedd, pool=pool, report=report)
    found = selection.read(chosen, ATTRIBUTES, limit=limit)
    jobs = [job for cluster, story in found.stories for job in from_story(cluster.id, story, held=cluster.record.held)]
    jobs += from_rows(found.rows)
    told = Usage(found.title, jobs, found.sources, [*found.notes, *_limit(found, limit)])
    if not told.ran:
        states = told.to_dict()["states"]
        held = " Why they are held: %condor_why" if states.get("held") else ""
        raise HTCMagicError(
            f"No job of {found.title} has run yet: {', '.join(f'{n:,} {state}' for state, n in states.items())}.",
            hint=f"Ask again when the first has ended; HTCondor measures jobs while they run.{held}",
        )
    return told


def _limit(found: selection.Found, limit: int) -> list[str]:
    return [f"Only the newest {limit:,} ended jobs were looked at (-limit N)."] if found.limited else []


def _measure(resource: str, unit: str, values: Sequence[tuple[float | None, float | None]]) -> Measure:
    asked = [value for value, _ in values if value is not None]
    used = sorted(value for _, value in values if value is not None)
    told = Measure(resource, unit, len(used), min(asked, default=None), max(asked, default=None))
    if not used:
        return told
    p = percentile
    return Measure(
        *(resource, unit, len(used), told.asked_min, told.asked_max),
        *(used[0], p(used, 50), p(used, 90), p(used, 95), used[-1]),
    )


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return the smallest value that so many percent of `ordered` do not exceed.

    Examples
    --------
    >>> percentile([1, 2, 3, 4], 50), percentile([1, 2, 3, 4], 95)
    (2, 4)
    """
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]


def rounded_up(mib: float) -> float:
    """Return a size rounded up as people would: to 128 MB below 2 GB, to 512 MB below 16 GB, then whole GB.

    Examples
    --------
    >>> rounded_up(30), rounded_up(1000), rounded_up(2100), rounded_up(17000)
    (32, 1024, 2560, 17408)
    """
    step = (
        32
        if mib <= 128
        else 128
        if mib <= 2 * GIB
        else 512
        if mib <= 16 * GIB
        else 1024
        if mib <= 128 * GIB
        else 8 * 1024
    )
    return max(step, math.ceil(mib / step) * step)


def _memory(told: Usage) -> Advice | None:
    figures = told.measure("memory")
    if figures.p95 is None:
        return None
    measured = [job for job in told.ran if job.memory_used_mib]
    done = [(job, job.memory_used_mib or 0.0) for job in measured if job.state == "done"]
    wanted, above = _enough(figures, done)
    says = f"95 % of {counted(figures.jobs, 'job')} used {_most(figures.p95)}"
    says += f"; the largest {amount('memory', figures.max or 0.0)}"
    stopped = [job for job in told.over_memory if job.state != "done"]
    if stopped and len(stopped) > OUTLIERS * len(told.ran):
        had = max(max(job.memory_asked_mib or 0.0, job.memory_used_mib or 0.0) for job in stopped)
        wanted = max(wanted, rounded_up(AFTER_FAILURE * had))
        says += f"; {counted(len(stopped), 'job')} with {amount('memory', had)} had too little: their need is not known"
    elif stopped:
        says += f"; {_named(stopped)}, held for memory, want more"
    if above:
        says += f"; too little for {_named(above)}"
    return Advice("memory", request("memory", wanted), f"{_asked(figures)}; {says}.")


def _disk(told: Usage) -> Advice | None:
    figures = told.measure("disk")
    if figures.p95 is None:
        return None
    used = [(job, job.disk_used_mib) for job in told.ran if job.disk_used_mib and job.state == "done"]
    wanted, above = _enough(figures, used)
    says = f"{_asked(figures)}; 95 % used {_most(figures.p95)}; the largest {_size(figures.max or 0.0)}"
    if above:
        says += f"; too little for {_named(above)}"
    return Advice("disk", request("disk", wanted * 1024), f"{says}.")


def _cpus(told: Usage) -> Advice | None:
    """Advise other cores only where what is asked for is clearly wrong."""
    figures = told.measure("cpus")
    if figures.p95 is None or figures.asked_max is None or sum(job.wall_s for job in told.ran) < 60:
        return None
    wanted = max(1, math.ceil(figures.p95 - 0.15))  # threads that hardly compute want no core of their own
    if figures.asked_min == figures.asked_max == wanted:
        return None
    more = wanted > figures.asked_max
    says = "they run more threads than that" if more else "the others stood still"
    return Advice(
        "cpus",
        request("cpus", wanted),
        f"{_asked(figures)}; 95 % kept at most {figures.p95:.2g} busy: {says}.",
    )


def _enough(figures: Measure, done: Sequence[tuple[JobUse, float]]) -> tuple[float, list[JobUse]]:
    """Return what is enough for nearly all, and the few successful jobs that used more."""
    p95, asked = figures.p95 or 0.0, figures.asked_max
    wanted = rounded_up(p95 * MARGIN)
    above = [job for job, used in done if used > wanted]
    if len(above) > OUTLIERS * len(done):
        wanted, above = rounded_up(max(used for _, used in done)), []
    if (
        figures.asked_min == asked
        and asked is not None
        and p95 * MARGIN <= asked < wanted
        and (figures.max or 0) <= asked
    ):
        wanted = asked  # it fits: rounding is no reason to ask for more
    return wanted, above


def _asked(figures: Measure) -> str:
    if figures.asked_max is None or figures.asked_min is None:
        return "asked for nothing"
    show = _cores if figures.resource == "cpus" else _size
    low, high = show(figures.asked_min), show(figures.asked_max)
    return f"asked for {high}" if low == high else f"asked for {low} to {high}"


def _most(mib: float) -> str:
    told = _size(mib)
    return told if told.startswith("less") else f"at most {told}"


def _size(mib: float) -> str:
    return amount("memory", mib)


def _cores(cores: float) -> str:
    return amount("cpus", cores)


def _named(jobs: Sequence[JobUse]) -> str:
    return listed([str(job.job) for job in jobs])


def _warnings(told: Usage) -> list[str]:
    notes = []
    measured = told.measure("memory").jobs
    if measured < FEW:
        notes.append(
            f"The memory of only {counted(measured, 'job')} is known: too few to rely on the advice."
            if measured
            else "The memory of no job is known: they were too short to be measured, or have only just started."
        )
    elif len(told.ran) - measured:
        notes.append(f"Of {counted(len(told.ran) - measured, 'job')} the memory is not known: too short, or lost.")
    running = sum(job.state == "running" for job in told.ran)
    if running:
        notes.append(f"{counted(running, 'job')} still {'runs' if running == 1 else 'run'} and may yet use more.")
    waiting = len(told.jobs) - len(told.ran)
    if waiting:
        notes.append(f"{counted(waiting, 'job')} never ran and {'is' if waiting == 1 else 'are'} not counted.")
    return notes
