"""Every view of condor_q: which it is, where its text and its data come from, the table that holds both.

Batches and jobs are drawn by ourselves. Of all other views the text is made by condor_q itself, from a file of the very
ads that the data is made of, so that both are one snapshot and one query. What condor_q makes only from a live
schedd (totals, autoclusters, several schedds) it is asked for live.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

from htcmagic.errors import CellError
from htcmagic.pool import command
from htcmagic.pool.address import Pool
from htcmagic.queue import longform, program, text
from htcmagic.queue.listing import Listing, Record
from htcmagic.queue.options import LIVE, Options
from htcmagic.queue.request import Client, Request, request, run, snapshot
from htcmagic.queue.rows import JOB_PROJECTION, Row, Snapshot, count, whole
from htcmagic.queue.table import QueueTable
from htcmagic.queue.views import VIEWS, View, jobs, of_values

NO_TEXT = (
    "condor_q is not on this machine, so this view has no text here. Its data: .to_dicts(), .to_dataframe()\n"
    "To get the program: htc-pool install\n"
)
_BATCHES_DRAWN = (
    *("Cmd", "DAG_NodesQueued", "JobCoolDownExpiration", "LastSuspensionTime", "NiceUser", "TransferQueued"),
    *("TransferringInput", "TransferringOutput"),
)
ID = 'strcat(ClusterId, ".", ProcId)'
"""What ``-af:j`` begins a line with."""
MOST_NAMED = 5
_ID = re.compile(r"\d{1,9}(\.\d{0,9})?", re.ASCII)
_HEADING = re.compile(r"\A(\n*)-- Jobads: .*\n")
_FOOTING = re.compile(r"(?m)^Total for query: .*\n\n?\Z")
_CONDITION = re.compile(r"(?m)^Constraint: (.*)$")
_HEAD = re.compile(r"(?m)^(?:HEAD: '(.*)'\n)?ATTR: '(.*)'$")


class Door(Client, Protocol):
    """The part of the pool's client that views need."""

    pool: Pool

    def call(self, operation: str, **arguments: Any) -> Any: ...  # noqa: D102


def ask(client: Door, options: Options) -> QueueTable | Listing:
    """Ask, and return the answer as a table.

    Raises
    ------
    CellError
        A word, a constraint or a combination of options makes no sense.
    PoolError
        The schedd does not answer or refuses.
    """
    _check(options)
    names = client.call("look", expression=options.constraint) if options.constraint is not None else []
    if options.source:
        words = [f"-{options.source[0]}", options.source[1]]
        return program.table(client.pool, "condor_q", [*words, *options.asking(), *options.drawing()])
    answer: QueueTable | Listing
    if options.everywhere or options.view in LIVE:
        answer = _live(client, options)
    elif options.drawn_by_us:
        answer = run(client, _request(options, options.constraint))
    else:
        answer = _from_ads(client, options)
    if names and not len(answer):
        answer.note = hint(client, names)
    elif options.words and not len(answer):
        answer.note = absent(options.words)
    return answer


def _check(options: Options) -> None:
    if options.appended and options.batches:
        raise CellError("-aaf goes with a view of one line a job.", hint="Add -nobatch, or use -af.")
    if options.limit == 0:
        raise CellError("-limit 0: at least 1.")


def _request(options: Options, constraint: str | None) -> Request:
    return request(
        options.words,
        constraint=constraint,
        nobatch=not (options.batches or (options.dag and not options.values_only)),
        allusers=options.allusers,
        limit=options.limit,
    )


def absent(words: Sequence[str]) -> str:
    """Return a line on ids of jobs that are not there; empty if these are no ids.

    Examples
    --------
    >>> absent(("17", "18.3"))
    'Not in the queue: 17, 18.3. Ended already? %condor_history 17 18.3'
    """
    if len(words) > MOST_NAMED or not all(_ID.fullmatch(word) for word in words):
        return ""
    return f"Not in the queue: {', '.join(words)}. Ended already? %condor_history {' '.join(words)}"


def hint(client: Door, names: Sequence[str]) -> str:
    """Return a line on attributes that a constraint names and no job has; empty if there is nothing to say."""
    missing, known = client.call("unheard", names=list(names))
    if not missing or not known:
        return ""
    import difflib  # noqa: PLC0415 - only after a slip

    near = difflib.get_close_matches(missing[0], known, n=1)
    said = f"No job in the queue has an attribute {' or '.join(missing)}."
    return f"{said} Did you mean {near[0]}?" if near else said


# live


def _live(client: Door, options: Options) -> Listing:
    """Have condor_q ask itself: once for the text, once more for the data when that is wanted."""
    client.call("locate")  # a personal pool that is down is started
    words = [*command.where(client.pool), *options.asking(), *options.drawing()]
    title = f"condor_q -{options.view or 'global'}"
    if options.view == "totals":
        return program.table(client.pool, "condor_q", words, title=title, parse=program.totals)
    return program.table(client.pool, "condor_q", words, title=title)


# from ads


def _from_ads(client: Door, options: Options) -> QueueTable | Listing:
    """Fetch ads, and have condor_q draw them."""
    view = _view(client, options)
    conditions = [f"({options.constraint})"] if options.constraint is not None else []
    conditions += [view.constraint] if view and view.constraint else []
    asked = _request(options, " && ".join(conditions) or None)
    with program.scratch() as file:
        answer = client.call(
            "ads",
            constraint=asked.constraint,
            projection=_projection(options, asked, view),
            expressions=[*view.values, *options.appended[1:]] if view else list(asked.projection),
            limit=asked.limit,
            my_jobs=asked.my_jobs,
            totals=not options.values_only,
            file=str(file),
            hosts=options.view == "run" and not options.values_only,
        )
        written = file.read_bytes().decode("utf-8", "replace") if options.form else ""
        taken = snapshot(client, asked, [], answer["summary"], owners=set(answer["owners"]))
        if command.path("condor_q") is None:
            drawn = written if options.form == "long" else NO_TEXT
        else:
            words = options.formatting() if options.values_only else options.drawing()
            if view is None and asked.partial:  # or it takes what is missing for done
                words += ["-constraint", "true"]
            drawn = _dressed(program.text(client.pool, "condor_q", ["-jobads", str(file), *words]), taken)
    rows = answer["rows"]
    if options.form:
        return _whole(options, drawn, written)
    if view is None or options.jobs:
        rows = rows if view is None else [row[: len(JOB_PROJECTION)] for row in rows]
        return QueueTable(replace(taken, rows=rows, query=count(rows)), nobatch=options.jobs, drawn=drawn)
    return _listing(options, drawn, taken, view, rows)


def _view(client: Door, options: Options) -> View | None:
    """Return the view; None for batches."""
    if options.batches:
        return None
    if options.print_format:
        return _printed_by(client, options)
    about = VIEWS[options.view].constraint if options.view else ""
    if options.form:
        return of_values([], about)
    if options.values_only:
        own = [(what, what) for what in options.expressions()]
        return of_values([("ID", ID), *own] if options.numbered else own, about)
    return VIEWS[options.view] if options.view else jobs(cpu_time=options.cputime, dag=options.dag)


def _printed_by(client: Door, options: Options) -> View:
    """Return the columns and jobs of a print format, which only condor_q can read."""
    words = [*command.where(client.pool), *options.drawing(), "-dry-run"]
    done = command.run(client.pool, "condor_q", words)
    condition = _CONDITION.search(done.words)
    if done.status or condition is None:
        raise program.failed("condor_q", done.words or done.output.decode("utf-8", "replace"))
    columns = [(head.strip() or what, what) for head, what in _HEAD.findall(done.words)]
    return of_values(columns, "" if condition[1] == "<null>" else condition[1])


def _projection(options: Options, asked: Request, view: View | None) -> list[str]:
    """Return the attributes that are fetched; nothing for all of them."""
    if options.form or options.print_format:
        return list(options.attributes)
    if options.values_only:
        return ["ServerTime"]
    needed = [*asked.projection, *_BATCHES_DRAWN] if view is None else [*view.values, *view.drawn]
    return list(dict.fromkeys([*needed, "Owner", "JobStatus", "JobUniverse"]))


def _dressed(drawn: str, taken: Snapshot) -> str:
    """Put the heading and the totals of a live queue in the place of a file's."""
    drawn = _HEADING.sub(lambda found: f"{found[1]}{text.heading(taken)}\n", drawn, count=1)
    found = _FOOTING.search(drawn)
    if found is None:
        return drawn
    query = found[0].split("\n")[0].rstrip()
    others = text.footer(taken).partition(" \n")[2]
    return f"{drawn[: found.start()]}{query} \n{others}\n\n"


def _whole(options: Options, drawn: str, written: str) -> Listing:
    wanted = {name.lower(): name for name in options.attributes}

    def rows() -> list[Record]:
        found = sorted(longform.ads(written), key=lambda ad: (whole(ad.get("ClusterId")), whole(ad.get("ProcId"))))
        if not wanted:
            return [dict(sorted(ad.items(), key=lambda item: item[0].lower())) for ad in found]
        return [{name: value for name, value in ad.items() if name.lower() in wanted} for ad in found]

    return Listing(drawn, rows=rows, title=f"condor_q -{options.form}", plain=True)


def _listing(options: Options, drawn: str, taken: Snapshot, view: View, rows: Sequence[Row]) -> Listing:
    extra = options.appended[1:]
    first = len(view.values)

    def made() -> list[Record]:
        shown = view.rows([row[:first] for row in rows], taken.time)
        if options.view == "run" and not options.values_only:  # what runs beside the schedd
            shown = [{**one, "HOST(S)": one["HOST(S)"] or taken.schedd} for one in shown]
        if not extra:
            return shown
        return [{**one, **dict(zip(extra, row[first:], strict=True))} for one, row in zip(shown, rows, strict=True)]

    return Listing(drawn, columns=tuple(dict.fromkeys([*view.columns, *extra])), rows=made, title=taken.schedd)
