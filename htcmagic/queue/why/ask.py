"""The question put to a pool, and its answer made into explanations."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from htcmagic.errors import HTCMagicError, NoSuchJob, ScheddUnreachable
from htcmagic.jobs.display import clean
from htcmagic.jobs.model import JobId
from htcmagic.pool.address import Pool
from htcmagic.queue.why import ended, held, idle, running
from htcmagic.queue.why.fixes import Hand
from htcmagic.queue.why.model import Explanation, Group, Why
from htcmagic.queue.why.words import counted, listed

ID = re.compile(r"(\d{1,9})(?:\.(\d{1,9}))?\Z", re.ASCII)
WAITING = "JobStatus == 1 || JobStatus == 5 || JobStatus == 7"
HISTORY_S = 60.0
"""Longest search in the history: a schedd's may hold millions of jobs."""
MOST_ENDED = 5000
ATTEMPTS = 4
IDLE, RUNNING, REMOVED, COMPLETED, HELD = range(1, 6)


class Client(Protocol):
    """The part of the pool's door that is needed here."""

    pool: Pool

    @property
    def schedd(self) -> Any: ...  # noqa: D102

    def call(self, operation: str, *, within_s: float = ..., **arguments: Any) -> Any: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Asked:
    """A job, a cluster or a batch that was asked for."""

    cluster: int | None = None
    proc: int | None = None
    name: str = ""

    @property
    def constraint(self) -> str:
        """The ClassAd expression that selects it."""
        if self.cluster is None:
            quoted = self.name.replace("\\", "\\\\").replace('"', '\\"')
            return f'JobBatchName == "{quoted}"'
        return f"ClusterId == {self.cluster}" + ("" if self.proc is None else f" && ProcId == {self.proc}")

    def __str__(self) -> str:
        if self.cluster is None:
            return f"job or batch named {clean(self.name, 80)}"
        return f"cluster {self.cluster}" if self.proc is None else f"job {self.cluster}.{self.proc}"


def asked(word: str | int | JobId) -> Asked:
    """Read one word of the line: an id, else a batch name."""
    if isinstance(word, JobId):
        return Asked(word.cluster, word.proc)
    found = ID.match(str(word))
    if found is None:
        return Asked(name=str(word))
    return Asked(int(found[1]), None if found[2] is None else int(found[2]))


def explain(
    client: Client, jobs: Sequence[Asked] = (), *, constraint: str = "", allusers: bool = False, named: bool = False
) -> Why:
    """Ask a pool about jobs.

    Parameters
    ----------
    client : Client
        Whom to ask.
    jobs : sequence of Asked
        Which; none: those of mine that do not run.
    constraint : str
        An expression that selects jobs, in place of `jobs`.
    allusers : bool
        Everybody's jobs, not only mine.
    named : bool
        Whether the pool is another than the one in use.

    Raises
    ------
    NoSuchJob
        None of the jobs is in the queue or in the history.
    """
    wanted = constraint or " || ".join(f"({job.constraint})" for job in jobs) or WAITING
    answer = _queue(client, wanted, mine=not jobs and not constraint and not allusers)
    answer |= _pool(client, answer["groups"])
    hand = Hand(client.pool, named)
    found, notes = _explanations(client, answer, hand)
    missing = [job for job in jobs if not _is_in(job, answer["groups"], answer["factories"])]
    if missing:
        late, lost = _from_history(client, missing)
        found += late
        if lost and not found:
            raise _no_such(client, lost[0])
        notes += [f"There is no {job} in the queue or the history." for job in lost]
    notes += _gone(jobs, answer)
    if not found and not notes:
        notes = [_all_well(client, constraint=constraint)]
    return Why(sorted(found, key=_order), notes)


def _queue(client: Client, constraint: str, *, mine: bool) -> dict[str, Any]:
    """Ask the schedd; jobs that leave the queue while it is asked are asked for again."""
    for _ in range(ATTEMPTS):
        answer: dict[str, Any] = client.call("why", constraint=constraint, my_jobs=mine)
        if all(group["ad"] or group.get("left_out") for group in answer["groups"]):
            break
        time.sleep(0.1)
    answer["groups"] = [group for group in answer["groups"] if group["ad"] or group.get("left_out")]
    return answer


def _pool(client: Client, groups: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Ask the pool's collector for the idle ones; a deaf one must not hide what the schedd has told."""
    idle = [group["first"] for group in groups if group["status"] == IDLE and group.get("ad")]
    if not idle:
        return {}
    try:
        answer: dict[str, Any] = client.call("pool_for", jobs=idle)
    except ScheddUnreachable as error:
        return {"pool_error": error.message}
    for group in groups:
        group["match"] = answer["matches"].get(group["first"])
    return answer


def _order(one: Explanation) -> tuple[bool, bool, int]:
    """Sort what wants somebody's doing first, then what waits, then the rest; the most jobs first."""
    return (not one.urgent, one.state not in {"idle", "held"}, -one.count)


def _explanations(client: Client, answer: Mapping[str, Any], hand: Hand) -> tuple[list[Explanation], list[str]]:
    found, notes, left = [], [], 0
    for told in answer["groups"]:
        group = _group(told, answer["time"])
        if group is None:
            left += told["count"]
        else:
            found.append(_explanation(client, group, answer, hand))
    if left:
        notes.append(f"{counted(left, 'more job')} have reasons of their own: ask for them by their ids.")
    notes += [note for factory in answer["factories"] if (note := _factory(factory))]
    return found, notes


def _group(told: Mapping[str, Any], now: int) -> Group | None:
    if not told.get("ad"):
        return None
    first = JobId(*told["first"])
    jobs = [JobId(*job) for job in told["jobs"]]
    jobs.sort(key=lambda job: (job != first, job))
    if told["status"] == IDLE:
        jobs.sort()
    match = told.get("match")
    return Group(int(told["status"] or 0), told["count"], tuple(jobs), told["clusters"], told["ad"], now, match)


def _explanation(client: Client, group: Group, world: Mapping[str, Any], hand: Hand) -> Explanation:
    if group.status == IDLE:
        return idle.explain(group, world, hand)
    if group.status == HELD:
        return held.explain(group, hand, local=client.pool.personal or bool(client.schedd.local))
    if group.status in {REMOVED, COMPLETED}:
        return ended.explain(group)
    return running.explain(group, hand)


def _factory(factory: Mapping[str, Any]) -> str:
    """Tell of jobs that the schedd has not made yet."""
    total, made = factory.get("TotalSubmitProcs"), factory.get("JobMaterializeNextProcId")
    limit = factory.get("JobMaterializeLimit")
    total = min(n for n in (total, limit) if isinstance(n, int)) if isinstance(total, int) else total
    if not isinstance(total, int) or not isinstance(made, int) or made >= total:
        return ""
    left = total - made
    head = f"Cluster {factory['ClusterId']}: {counted(left, 'more job')} of {total:,} not made yet: "
    if factory.get("JobMaterializePaused") or factory.get("JobFactoryPaused"):
        reason = clean(str(factory.get("JobMaterializePauseReason") or "the schedd has paused it"), 300)
        return f"{head}{reason}."
    most = factory.get("JobMaterializeMaxIdle")
    if isinstance(most, int):
        return f"{head}the schedd makes them as others start, at most {most} idle at a time (max_idle)."
    return f"{head}the schedd makes them bit by bit."


def _is_in(job: Asked, groups: Sequence[Mapping[str, Any]], factories: Sequence[Mapping[str, Any]]) -> bool:
    if job.cluster is None:
        return any(group.get("ad", {}).get("JobBatchName") == job.name for group in groups) or bool(groups)
    if job.proc is None:
        return any(job.cluster in group["clusters"] for group in groups) or any(
            factory["ClusterId"] == job.cluster for factory in factories
        )
    return any(
        (job.cluster, job.proc) in group["jobs"]
        or (group["count"] > len(group["jobs"]) and job.cluster in group["clusters"])
        for group in groups
    )


def _gone(jobs: Sequence[Asked], answer: Mapping[str, Any]) -> list[str]:
    """Tell how many jobs of a cluster have left the queue."""
    notes = []
    for job in jobs:
        groups = [group for group in answer["groups"] if job.cluster in group["clusters"]]
        there = sum(group["clusters"][job.cluster] for group in groups)
        total = groups[0].get("ad", {}).get("TotalSubmitProcs") if groups else None
        if job.proc is None and isinstance(total, int) and not answer["factories"] and there < total:
            notes.append(f"{total - there:,} of {total:,} jobs of cluster {job.cluster} have left the queue.")
    return notes


def _from_history(client: Client, jobs: Sequence[Asked]) -> tuple[list[Explanation], list[Asked]]:
    """Explain what has left the queue; return also what was not found at all."""
    constraint = " || ".join(f"({job.constraint})" for job in jobs)
    limit = len(jobs) if all(job.proc is not None for job in jobs) else MOST_ENDED
    try:
        answer = client.call("ended", constraint=constraint, limit=limit, within_s=HISTORY_S)
    except ScheddUnreachable as error:
        if error.transient:
            raise
        raise ScheddUnreachable(
            f"There is no {jobs[0]} in the queue, and its history was not searched within {HISTORY_S:.0f} s.",
            hint="A history can be long: condor_history searches it without a limit.",
        ) from None
    found = [ended.explain(group) for told in answer["groups"] if (group := _group(told, answer["time"])) is not None]
    return found, [job for job in jobs if not _is_in(job, answer["groups"], ())]


def _no_such(client: Client, job: Asked) -> HTCMagicError:
    message = f"There is no {job} with {client.pool.its_schedd}, neither in its queue nor in its history."
    if job.cluster is None:
        return NoSuchJob(message, hint="List what you sent: %condor_jobs")
    near = [JobId(*row) for row in client.call("neighbours", cluster=job.cluster)]
    if not near:
        return NoSuchJob(message, hint="The queue is empty. What you sent before: %condor_jobs")
    near.sort(key=lambda one: (abs(one.cluster - (job.cluster or 0)), abs(one.proc - (job.proc or 0))))
    ids = [str(one) for one in sorted(near[:5])]
    return NoSuchJob(message, hint=f"Near it in the queue: {listed(ids)}")


def _all_well(client: Client, *, constraint: str) -> str:
    if constraint:
        return "No job in the queue fits this."
    counts: Mapping[str, int] = client.call("queue_size")
    total = sum(counts.values())
    if not total:
        return "You have no jobs in the queue."
    return f"Nothing waits: {counted(total, 'job')} of yours {'is' if total == 1 else 'are'} running or ending."
