"""What a live view shows: a table of batches, frozen; and what is wanted of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from htcmagic.pool.address import Pool

STATES = ("idle", "running", "held", "suspended", "done", "failed", "removed")
"""What a job can be, in the order in which views count."""
LETTERS = {"idle": "I", "running": "R", "held": "H", "suspended": "S", "done": "D", "failed": "F", "removed": "X"}
"""One letter a state."""
STATE_OF_LETTER = {letter: state for state, letter in LETTERS.items()}
ENDED = frozenset({"done", "failed", "removed"})
"""States that a job never leaves."""


class LiveJob(NamedTuple):
    """One job.

    Attributes
    ----------
    id : str
        ``17.3``.
    state : str
        One of `STATES`.
    submitted, started : float or None
        Seconds since 1970 by *this machine's* clock; `started` is the present or last run's.
    host : str
        Where it runs or ran last; empty if unknown.
    reason : str
        Why it is held, or was removed. Foreign text.
    command : str
        Program and arguments; empty if unknown. Foreign text.
    owner : str
        Foreign text.
    """

    id: str
    state: str
    submitted: float | None
    started: float | None
    host: str
    reason: str
    command: str
    owner: str


JobsOf = Callable[[int | None, int, Collection[str] | None], list[LiveJob]]


def _no_jobs(_limit: int | None, _offset: int, _states: Collection[str] | None) -> list[LiveJob]:
    return []


@dataclass(frozen=True)
class LiveBatch:
    """One line: a cluster, a DAG, or the clusters of one batch name.

    Attributes
    ----------
    key : str
        Stable as long as the view lives; not for people.
    name, owner : str
        The batch name (empty: none, show the ids) and whose it is. Foreign text.
    submitted : float or None
        When the first of it was sent; seconds since 1970 by this machine's clock.
    ids : str
        ``17.0-9``, ``17.3`` or ``17.0 ... 19.9``.
    own : bool
        All of it is followed by event logs: it costs the schedd nothing and is never stale.
    total : int
        Jobs, those that have ended and those not yet materialized included.
    counts : mapping
        Jobs by state; states without jobs are left out. What has left the queue unseen, one cannot know how, is counted
        as done, as condor_q does. The sum is `total`, or less in a DAG whose nodes are yet to be sent.
    hold : str
        The first hold reason; empty if nothing is held. Foreign text.
    progress : float or None
        0 to 1, as told from inside the jobs; None if nothing is told (draw ``ended / total``).
    letters : str
        One letter a job (`LETTERS`), in the order of `spans`. Jobs of which only their number is known (they left
        unseen, or are yet to be materialized) have none.
    spans : tuple of (cluster, first proc, how many)
        Which jobs the letters belong to.
    constraint : str
        A ClassAd expression that is true for all its jobs, for hold, release, remove, edit.
    pool : Pool
        Where it is.
    gone : bool
        All of it has left the queue or ended.
    """

    key: str
    name: str
    owner: str
    submitted: float | None
    ids: str
    own: bool
    total: int
    counts: Mapping[str, int]
    hold: str
    progress: float | None
    letters: str = field(repr=False)
    spans: tuple[tuple[int, int, int], ...]
    constraint: str
    pool: Pool
    gone: bool = False
    make_jobs: JobsOf = field(default=_no_jobs, repr=False, compare=False)

    def jobs(self, limit: int | None = None, offset: int = 0, states: Collection[str] | None = None) -> list[LiveJob]:
        """Return its jobs in the order of `letters`; made when asked for, as of now.

        Parameters
        ----------
        limit : int, optional
            Most jobs; all if not given.
        offset : int
            So many are passed over first.
        states : collection of str, optional
            Only jobs in these states (`offset` and `limit` count only them).
        """
        return self.make_jobs(limit, offset, states)

    @property
    def ended(self) -> int:
        """How many jobs have ended."""
        return sum(self.counts.get(state, 0) for state in ENDED)


@dataclass(frozen=True)
class LiveTable:
    """Everything that is watched, at one moment.

    Attributes
    ----------
    batches : tuple of LiveBatch
        Ordered by their first cluster's id, as condor_q does.
    seen : float
        When the oldest part of it was true; seconds since 1970 by this machine's clock. ``time.time() - seen`` is the
        age to show. 0.0: the schedd has not answered yet, only own clusters are in the table.
    stale : bool
        The schedd (or the process that asks it) gives no news: grey it. Batches with `own` are true all the same.
    note : str
        Why it is stale, or what else is to be said, in one line; empty if all is well. Without the age. May quote
        foreign text.
    where : str
        The schedd's name as condor_q prints it; several are joined by ``, ``.
    version : int
        Grows with each change of anything but `seen`; equal versions are equal tables.
    finished : bool
        Everything that was watched has ended or is gone: nothing will change any more, the source may be closed. A view
        without words that has not seen any unfinished job yet is not finished: it waits for the first. One whose
        words name only jobs that have ended, or none, is.
    nobatch : bool
        One line a job was asked for: draw ``batch.jobs()``.
    """

    batches: tuple[LiveBatch, ...]
    seen: float
    stale: bool
    note: str
    where: str
    version: int
    finished: bool
    nobatch: bool = False


@dataclass(frozen=True)
class Want:
    """What is watched.

    Attributes
    ----------
    words : tuple of str
        For ``%condor_watch`` (`queue` is None): cluster ids, batch names and run names of own clusters. For
        ``%condor_q --watch``: cluster ids, job ids and owners, as condor_q takes them. Empty: all of one's own.
    queue : Pool or None
        The pool whose schedd is watched through the shared feed: ``%condor_q --watch``. None: own clusters only, on
        whatever pool they are, by their event logs, without any question to a schedd.
    constraint : str or None
        An expression that jobs must fit; only with `queue`.
    allusers, nobatch : bool
        As condor_q's options; `allusers` only with `queue`.
    """

    words: tuple[str, ...] = ()
    queue: Pool | None = None
    constraint: str | None = None
    allusers: bool = False
    nobatch: bool = False
