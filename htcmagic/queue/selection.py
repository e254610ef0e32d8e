"""Which jobs a question on their past is about, and where to read of them: event logs, else queue and history."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from htcmagic.errors import CellError, HTCMagicError, NoSuchJob, PoolError, ScheddUnreachable
from htcmagic.jobs import display, store
from htcmagic.jobs.cluster import Cluster, JobFuture
from htcmagic.jobs.model import JobId
from htcmagic.pool.client import Client, client
from htcmagic.pool.resolve import connect
from htcmagic.queue.why.ask import Asked, asked

HISTORY_S = 60.0
"""Longest search in the history: a schedd's may hold millions of jobs."""
STORY_S = 60.0
LONGEST_NAME = 60


@dataclass(frozen=True, slots=True)
class Choice:
    """Some jobs, and whom to ask of them.

    Attributes
    ----------
    client : Client
        The pool they were sent to.
    title : str
        What they are called.
    cluster : Cluster or None
        Our own handle on them: it knows their event log.
    constraint : str
        The expression that selects them in queue and history.
    proc : int or None
        The only job of `cluster` that is meant.
    """

    client: Client
    title: str
    constraint: str
    cluster: Cluster | None = None
    proc: int | None = None


@dataclass(slots=True)
class Found:
    """What was read of some jobs.

    Attributes
    ----------
    stories : list of tuple
        Clusters with what their event logs tell.
    rows : list of tuple
        Jobs from queue and history, in the order of the projection.
    limited : bool
        Whether there are more ended jobs than were asked for.
    """

    title: str
    stories: list[tuple[Cluster, dict[str, Any]]] = field(default_factory=list)
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    queued: int = 0
    ended: int = 0
    limited: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def sources(self) -> list[str]:
        """Where it was read."""
        told = [f"{len(self.stories)} event logs" if len(self.stories) > 1 else "the event log"] if self.stories else []
        told += ["the queue"] if self.queued else []
        return told + (["the history"] if self.ended else [])


def choices(
    what: Any = None, *, constraint: str = "", schedd: str = "", pool: str = "", report: Any = None
) -> list[Choice]:
    """Read what a user named.

    Parameters
    ----------
    what : Cluster, JobFuture, JobId, int, str or a list of them, optional
        Jobs; not given: all of mine.
    constraint : str
        A ClassAd expression in place of `what`.
    schedd, pool : str
        Another pool than the one in use.
    report : callable, optional
        Gets a line when a personal pool is started.
    """
    single = what is None or isinstance(what, str | int | JobId | Cluster | JobFuture)
    things: Sequence[Any] = ([] if what is None else [what]) if single else list(what)
    if things and constraint:
        raise CellError("Say which jobs, or give a constraint, not both.")
    said = {} if report is None else {"report": report}
    if things:
        return [_choice(thing, schedd, pool, said) for thing in things]
    whom = connect(schedd, pool, **said)
    if constraint:
        return [Choice(whom, display.clean(constraint, LONGEST_NAME), constraint)]
    mine = "true" if whom.pool.personal else f'User == "{whom.schedd.user}"'
    return [Choice(whom, "My jobs", mine)]


def read(chosen: Sequence[Choice], projection: Sequence[str], *, limit: int) -> Found:
    """Read event logs where there are any, else ask the schedd for queue and history.

    Parameters
    ----------
    chosen : sequence of Choice
        Which jobs.
    projection : sequence of str
        Attributes wanted of jobs that no log tells of; the first two are ClusterId and ProcId.
    limit : int
        Most jobs that have left the queue, the newest.

    Raises
    ------
    NoSuchJob
        There are none.
    """
    found = Found(", ".join(choice.title for choice in chosen))
    asking: dict[Client, list[Choice]] = {}
    for choice in chosen:
        story = _story(choice)
        if story is None or choice.cluster is None:
            asking.setdefault(choice.client, []).append(choice)
            continue
        found.stories.append((choice.cluster, story))
        if story["partial"]:
            found.notes.append(f"The event log of {choice.title} is damaged or very long: not all of it was read.")
    for whom, some in asking.items():
        _ask(whom, some, projection, limit, found)
    if not found.stories and not found.rows:
        raise _no_such(chosen)
    return found


def _choice(thing: Any, schedd: str, pool: str, said: dict[str, Any]) -> Choice:
    if isinstance(thing, Cluster):
        return _ours(thing)
    if isinstance(thing, JobFuture):
        return _ours(thing._cluster, thing.id.proc)  # noqa: SLF001
    if not isinstance(thing, str | int | JobId) or isinstance(thing, bool):
        raise CellError(
            f"A {type(thing).__name__} is no job.", hint="A cluster, a job of it, an id such as 17.3, a batch name"
        )
    job = asked(thing)
    sent = [] if schedd or pool else store.clusters(job.name if job.cluster is None else job.cluster, limit=1)
    if sent and job.cluster is None:
        return _ours(sent[0])
    try:
        whom = connect(schedd, pool, **said)
    except ScheddUnreachable:
        if not sent:
            raise
        return _ours(sent[0], job.proc)
    if sent and sent[0].record.pool.key == whom.pool.key:
        return _ours(sent[0], job.proc)
    return Choice(whom, _title(job), job.constraint)


def _ours(cluster: Cluster, proc: int | None = None) -> Choice:
    job = Asked(cluster.id, proc)
    title = display.title(cluster) if proc is None else f"Job {cluster.id}.{proc}"
    return Choice(client(cluster.record.pool), title, job.constraint, cluster, proc)


def _title(job: Asked) -> str:
    if job.cluster is None:
        return display.clean(job.name, LONGEST_NAME)
    return f"Cluster {job.cluster}" if job.proc is None else f"Job {job.cluster}.{job.proc}"


def _story(choice: Choice) -> dict[str, Any] | None:
    """Return what the event log tells; None where there is none that can be read."""
    if choice.cluster is None or choice.cluster.log is None or not choice.cluster.log.is_file():
        return None
    try:
        story: dict[str, Any] = choice.client.call(
            "story", path=str(choice.cluster.log), cluster=choice.cluster.id, within_s=STORY_S, again=False
        )
    except PoolError:
        return None
    if choice.proc is not None:
        story["events"] = [event for event in story["events"] if event[1] == choice.proc]
    return story if story["events"] else None


def _ask(whom: Client, some: Iterable[Choice], projection: Sequence[str], limit: int, found: Found) -> None:
    each = [choice.constraint for choice in some]
    constraint = each[0] if len(each) == 1 else " || ".join(f"({one})" for one in each)
    queued = whom.query(constraint, projection).rows
    try:
        ended = whom.call(
            "history", constraint=constraint, projection=list(projection), limit=limit, within_s=HISTORY_S
        )
    except ScheddUnreachable as error:
        if error.transient or not queued:
            raise
        ended = []
        found.notes.append(
            f"The history was not searched within {HISTORY_S:.0f} s: only jobs in the queue are told of."
        )
    there = {row[:2] for row in queued}
    ended = [row for row in ended if row[:2] not in there]  # it has left the queue between the two questions
    found.rows += [*queued, *ended]
    found.queued += len(queued)
    found.ended += len(ended)
    found.limited = found.limited or len(ended) >= limit > 0


def _no_such(chosen: Sequence[Choice]) -> HTCMagicError:
    what = ", ".join(choice.title for choice in chosen)
    return NoSuchJob(
        f"No job was found for this: {what}; neither in the queue nor in the history.",
        hint="List what you sent: %condor_jobs",
    )
