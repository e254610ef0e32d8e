"""``%condor_history``: the files are searched once, what was found is drawn by condor_history and read as data."""

from __future__ import annotations

import re
from collections.abc import Sequence

from htcmagic.pool import command
from htcmagic.pool.address import Pool
from htcmagic.queue import longform, program, spelling
from htcmagic.queue.asking import Door
from htcmagic.queue.listing import Listing, Record
from htcmagic.queue.rows import LETTERS, moment, whole
from htcmagic.queue.spelling import MANY, Word
from htcmagic.queue.text import command_of
from htcmagic.queue.views import seconds

NAME = "condor_history"
SEARCH_S = 20.0
"""How long the files are searched; what is found until then is shown."""
NONE = (
    *("local", "schedd", "startd", "epochs", "transfer-history", "daemon", "directory", "backwards", "forwards"),
    *("long", "xml", "json", "jsonl", "wide", "no-librarian"),
)
ONE = (
    *("file", "search", "userlog", "constraint", "scanlimit", "since", "completedsince", "limit", "match"),
    *("attributes", "print-format"),
)
OPTIONS = {
    **dict.fromkeys(NONE, 0),
    **dict.fromkeys(ONE, 1),
    "format": 2,
    "autoformat": MANY,
    "af": MANY,
}
SHORT = {"l": "long", "c": "constraint", "f": "format", "m": "match"}
ELSEWHERE = ("file", "search", "userlog", "local", "startd", "epochs", "transfer-history", "daemon", "directory")
"""Sources that are no schedd's history: condor_history is asked live."""
FORMS = ("long", "xml", "json", "jsonl")
DRAWING = (*FORMS, "attributes", "wide", "format", "autoformat", "af", "print-format")
COLUMNS = ("ID", "OWNER", "SUBMITTED", "RUN_TIME", "ST", "COMPLETED", "CMD")
DRAWN = (
    *("ClusterId", "ProcId", "Owner", "QDate", "RemoteWallClockTime", "JobStatus", "CompletionDate", "Cmd", "Args"),
    *("Arguments", "JobDescription", "MATCH_EXP_JobDescription", "JobUniverse", "LastRemoteWallClockTime"),
    *("TransferringInput", "TransferringOutput", "TransferQueued", "EnteredCurrentStatus"),
)


def history(client: Door, words: Sequence[str]) -> Listing:
    """Return what ``condor_history`` shows; without ``-limit``, what it finds in `SEARCH_S` seconds.

    Parameters
    ----------
    client : Client
        Of the pool.
    words : sequence of str
        What was written behind the magic.

    Raises
    ------
    CellError
        An option or a constraint makes no sense.
    PoolError
        The schedd does not answer.
    """
    asked = spelling.read(NAME, words, OPTIONS, SHORT)
    for text in spelling.values(asked, "constraint"):
        client.call("look", expression=text)
    title = f"{NAME} {' '.join(spelling.spelled(asked))}".rstrip()
    pool = client.pool
    if spelling.given(asked, *ELSEWHERE):
        return program.table(pool, NAME, spelling.spelled(asked), title=title, within_s=SEARCH_S)
    wanted = _wanted(client, asked)
    fetch = [*command.where(pool), *spelling.spelled(asked, without=DRAWING), "-long"]
    fetch += ["-attributes", ",".join(wanted)] if wanted else []
    done = command.run(pool, NAME, fetch, within_s=SEARCH_S, keep=True)
    if done.status or (done.words and not done.output.strip()):
        raise program.failed(NAME, done.words or done.output.decode("utf-8", "replace"))
    ads = [ad.strip(b"\n") for ad in re.split(rb"\n\n+", done.output) if ad.strip()]
    if done.cut and ads and not done.output.endswith(b"\n\n"):
        ads.pop()
    note = f"Stopped after {SEARCH_S:.0f} s: {len(ads):,} jobs found so far. -limit and -since bound the search."
    drawn, values = _drawn(pool, ads, asked)
    form = spelling.given(asked, *FORMS)

    def rows() -> list[Record]:
        if values is not None:
            return values
        found = longform.ads(b"\n\n".join(ads).decode("utf-8", "replace"))
        return found if form or spelling.given(asked, "print-format") else [_row(ad) for ad in found]

    columns: Sequence[str] | None = None if form or spelling.given(asked, "print-format") else COLUMNS
    if spelling.expressions(asked):
        columns = tuple(dict.fromkeys(spelling.expressions(asked)))
    return Listing(drawn, columns=columns, rows=rows, title=title, plain=form, note=note if done.cut else "")


def _wanted(client: Door, asked: Sequence[Word]) -> list[str]:
    """Return the attributes that are needed; nothing for all of them."""
    if spelling.given(asked, *FORMS):
        return re.findall(r"[^,\s]+", " ".join(spelling.values(asked, "attributes")))
    if spelling.given(asked, "print-format"):
        return []
    expressions = spelling.expressions(asked)
    named = [name for text in expressions for name in client.call("look", expression=text)]
    return list(dict.fromkeys(["ClusterId", "ProcId", *named])) if expressions else list(DRAWN)


def _drawn(pool: Pool, ads: list[bytes], asked: Sequence[Word]) -> tuple[str, list[Record] | None]:
    """Have condor_history draw ads, and work out expressions."""
    words = [part for word in asked if word.name in DRAWING for part in word.spelled()]
    expressions = spelling.expressions(asked)
    # it reads a file from its end, an ad up to the line behind it
    lines = b"".join(b"%s\n*** ProcId = 0 ClusterId = 0\n" % ad for ad in reversed(ads))
    with program.scratch(lines) as file:
        drawn = program.text(pool, NAME, ["-file", str(file), *words])
        if not (expressions and ads):
            return drawn, [] if expressions else None
        printed = program.text(pool, NAME, ["-file", str(file), "-af:Vt", *expressions])
    return drawn, [
        dict(zip(expressions, map(longform.value_of, line.split("\t")), strict=True))
        for line in printed.splitlines()
        if line.count("\t") == len(expressions) - 1
    ]


def _row(ad: Record) -> Record:
    return {
        "ID": f"{whole(ad.get('ClusterId'))}.{whole(ad.get('ProcId'))}",
        "OWNER": ad.get("Owner"),
        "SUBMITTED": moment(ad.get("QDate")),
        "RUN_TIME": seconds(ad.get("RemoteWallClockTime")),
        "ST": LETTERS.get(whole(ad.get("JobStatus")), ""),
        "COMPLETED": moment(ad.get("CompletionDate") or None),
        "CMD": command_of(
            *(ad.get(name) for name in ("Cmd", "Args", "Arguments", "JobDescription", "MATCH_EXP_JobDescription"))
        ),
    }
