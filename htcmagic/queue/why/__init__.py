"""Why jobs are in the state they are in: idle, held, running, ended; and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from htcmagic.errors import CellError
from htcmagic.jobs.cluster import Cluster, JobFuture
from htcmagic.jobs.model import JobId
from htcmagic.pool.client import client
from htcmagic.pool.resolve import connect
from htcmagic.queue.why.ask import Asked, asked, explain
from htcmagic.queue.why.model import Condition, Explanation, Fix, Why

__all__ = ["Asked", "Condition", "Explanation", "Fix", "Why", "asked", "explain", "why"]


def why(what: Any = None, *, schedd: str = "", pool: str = "") -> Why:
    """Explain jobs: why they are idle or held, what they do, how they ended.

    Parameters
    ----------
    what : Cluster, JobFuture, JobId, int, str or a list of them, optional
        Which jobs: a handle, an id (``17``, ``"17.3"``) or a batch name; not given: mine that do not run.
    schedd, pool : str
        Another pool than the one in use.

    Returns
    -------
    Why
        A sequence of explanations that shows itself as text or HTML.
    """
    if what is None:
        return explain(connect(schedd, pool), named=bool(schedd or pool))
    things = [what] if isinstance(what, str | int | JobId | Cluster | JobFuture) else list(what)
    return together(things, schedd=schedd, pool=pool)


def together(things: Iterable[Any], *, schedd: str = "", pool: str = "", report: Any = None) -> Why:
    """Explain several things, each asked of the pool it was sent to, else of the one in use.

    Parameters
    ----------
    things : iterable
        As for :func:`why`.
    schedd, pool : str
        Another pool than the one in use.
    report : callable, optional
        Gets a line when a personal pool is started.
    """
    said = {} if report is None else {"report": report}
    default = None
    questions: dict[Any, list[Asked]] = {}
    for thing in things:
        owner = thing if isinstance(thing, Cluster) else getattr(thing, "_cluster", None)
        if owner is not None and not (schedd or pool):
            whom = client(owner.record.pool)
        else:
            whom = default = default or connect(schedd, pool, **said)
        questions.setdefault(whom, []).append(_asked(thing))
    if not questions:
        return explain(connect(schedd, pool, **said), named=bool(schedd or pool))
    answers = [explain(whom, jobs, named=bool(schedd or pool)) for whom, jobs in questions.items()]
    return Why([one for answer in answers for one in answer], [note for answer in answers for note in answer.notes])


def _asked(thing: Any) -> Asked:
    if isinstance(thing, Cluster):
        return Asked(thing.id)
    if isinstance(thing, JobFuture):
        return asked(thing.id)
    if isinstance(thing, str | int | JobId) and not isinstance(thing, bool):
        return asked(thing)
    raise CellError(
        f"A {type(thing).__name__} is no job.", hint="A cluster, a job of it, an id such as 17.3, a batch name"
    )
