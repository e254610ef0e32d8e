"""What condor_q is asked: words and flags to a constraint and a projection, and the question put to a schedd."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Protocol

from htcmagic.errors import CellError
from htcmagic.queue.rows import BATCH_PROJECTION, JOB_PROJECTION, Row, Snapshot, count, totals, whole
from htcmagic.queue.table import QueueTable

_ID = re.compile(r"(\d{1,9})(?:\.(\d{0,9}))?", re.ASCII)
_OWNER = re.compile(r"[^\W\d][\w.@+\\-]*\$?")


class Schedd(Protocol):
    """Whom to ask: its name as condor_q prints it, its sinful string, and who we are there (``name@domain``)."""

    @property
    def label(self) -> str: ...  # noqa: D102
    @property
    def address(self) -> str: ...  # noqa: D102
    @property
    def user(self) -> str: ...  # noqa: D102


class Answer(Protocol):
    """What came back."""

    @property
    def rows(self) -> list[Row]: ...  # noqa: D102
    @property
    def summary(self) -> Mapping[str, object]: ...  # noqa: D102


class Client(Protocol):
    """The part of the pool's door that a queue needs."""

    @property
    def schedd(self) -> Schedd: ...  # noqa: D102

    def query(  # noqa: D102
        self,
        constraint: str,
        projection: Sequence[str],
        *,
        limit: int = -1,
        my_jobs: bool = False,
        totals: bool = False,
    ) -> Answer: ...


@dataclass(frozen=True, slots=True)
class Request:
    """One question to a schedd, printable before it is asked."""

    constraint: str
    projection: tuple[str, ...]
    nobatch: bool
    my_jobs: bool
    """Only the asking user's jobs: condor_q's default unless ids or owners are named."""
    partial: bool
    """Whether clusters may come incomplete."""
    limit: int = -1
    """Most jobs; -1 for all."""


def request(
    words: Sequence[str],
    *,
    constraint: str | None = None,
    nobatch: bool = False,
    allusers: bool = False,
    limit: int = -1,
) -> Request:
    """Turn the words and flags of ``%condor_q`` into a question, by condor_q's rules.

    Parameters
    ----------
    words : sequence of str
        ``cluster``, ``cluster.proc`` and owners; jobs that fit one of them are shown.
    constraint : str, optional
        An expression that jobs must fit as well.
    nobatch : bool
        One line a job.
    allusers : bool
        All users' jobs where no id or owner is named.
    limit : int
        Most jobs; -1 for all.

    Raises
    ------
    CellError
        A word is neither an id nor a user's name.
    """
    choices: list[str] = []
    partial = constraint is not None
    for word in words:
        if found := _ID.fullmatch(word):
            cluster, proc = int(found[1]), int(found[2]) if found[2] else None
            partial |= proc is not None
            choices += _id_choices(cluster, proc, nobatch=nobatch)
        elif _OWNER.fullmatch(word):
            choices.append(f'(Owner=="{word.replace(chr(92), chr(92) * 2)}")')
        else:
            raise CellError(f"{word!r} is neither a job id nor a user name.", hint=_hint(word))
    parts = [
        f"( {part} )" for part in (f"({constraint})" if constraint is not None else "", " || ".join(choices)) if part
    ]
    return Request(
        constraint=" && ".join(parts) or "true",
        projection=JOB_PROJECTION if nobatch else BATCH_PROJECTION,
        nobatch=nobatch,
        my_jobs=not (allusers or choices),
        partial=partial,
        limit=limit,
    )


def run(client: Client, request: Request) -> QueueTable:
    """Ask, and return the answer as a table."""
    answer = client.query(
        request.constraint, request.projection, limit=request.limit, my_jobs=request.my_jobs, totals=True
    )
    rows = sorted(answer.rows, key=itemgetter(0, 1))
    taken = snapshot(client, request, rows, answer.summary, owners={row[4] for row in rows})
    return QueueTable(taken, nobatch=request.nobatch)


def snapshot(
    client: Client, request: Request, rows: list[Row], summary: Mapping[str, object], *, owners: set[object]
) -> Snapshot:
    """Put an answer together with all that is needed to show it.

    Parameters
    ----------
    client : Client
        Who was asked.
    request : Request
        What was asked.
    rows : list of tuple
        The jobs.
    summary : mapping
        The schedd's totals.
    owners : set
        Of the jobs.
    """
    mine = totals(dict(summary), "My") if request.my_jobs else None
    me = str(summary.get("MyName") or client.schedd.user)
    if mine is not None and not owners <= {me, me.partition("@")[0]}:
        mine = None  # a queue superuser gets everybody's jobs, and no line of totals
    return Snapshot(
        rows=rows,
        schedd=client.schedd.label,
        address=client.schedd.address,
        time=whole(summary.get("ServerTime")) or int(time.time()),
        query=count(rows),
        me=me,
        mine=mine,
        everyone=totals(dict(summary), "Allusers"),
        partial=request.partial,
    )


def _id_choices(cluster: int, proc: int | None, *, nobatch: bool) -> list[str]:
    choices = [f"(ClusterId == {cluster}{'' if proc is None else f' && ProcId == {proc}'})"]
    if not nobatch and not proc:  # a DAGMan's nodes are its batch
        choices += [f"(DAGManJobId == {cluster})", f'(int(split(JobBatchId, ".")[0]) == {cluster})']
    return choices


def _hint(word: str) -> str:
    if word.startswith("-"):
        return "An option? Those of %condor_q: %condor_q?"
    if "," in word:
        return "Put spaces between ids: 17 18.3"
    if re.search(r"[=<>!&|() ]", word):
        return f"Is it a constraint? -constraint '{word}'"
    return "Ids look like 17 or 17.3, owners like alice."
