"""``%condor_status``: ads are fetched once, drawn by condor_status from a file, and read as data.

Which attributes a view needs, and what its columns hold, condor_status tells itself (``-diagnose``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta

from htcmagic.pool import command
from htcmagic.pool.address import Pool
from htcmagic.queue import longform, program, spelling
from htcmagic.queue.asking import Door
from htcmagic.queue.listing import Listing, Record
from htcmagic.queue.spelling import MANY, Word

NAME = "condor_status"
ONE = ("annex-name", "direct", "ads", "subsystem", "constraint", "statistics", "target", "limit", "sort", "attributes")
NONE = (
    *("absent", "annex-slots", "avail", "claimed", "cod", "collector", "data", "debug", "defrag", "java", "vm"),
    *("license", "master", "grid", "gpus", "run", "schedd", "server", "slot", "startd", "broken", "healthy"),
    *("generic", "negotiator", "storage", "any", "state", "submitters", "compact", "long", "natural", "totals"),
    *("expert", "wide", "xml", "json"),
)
OPTIONS = {
    **dict.fromkeys(NONE, 0),
    **dict.fromkeys((*ONE, "merge", "print-format"), 1),
    "format": 2,
    "autoformat": MANY,
    "af": MANY,
    "aaf": MANY,
}
SHORT = {"l": "long", "c": "constraint", "r": "run", "f": "format", "total": "totals", "sub": "submitters"}
LIVE = ("direct", "ads", "merge", "target", "statistics", "cod", "debug")
"""What concerns more than ads: condor_status is asked live, and no data is made of it."""
FORMS = ("long", "json", "xml", "attributes")
_DRAWING = (*FORMS, "totals", "autoformat", "af", "aaf", "format", "print-format", "wide", "expert", "natural")
_COLUMN = re.compile(r"(?m)^HEAD: '(.*)'\nATTR: '(.*)'$")
_TIMES = {
    "EnteredCurrentActivity": "MyCurrentTime - EnteredCurrentActivity",
    "DaemonStartTime": "LastHeardFrom - DaemonStartTime",
}


def status(client: Door, words: Sequence[str]) -> Listing:
    """Return what ``condor_status`` shows.

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
        The collector does not answer.
    """
    asked = spelling.read(NAME, words, OPTIONS, SHORT)
    names = [name for text in spelling.values(asked, "constraint") for name in client.call("look", expression=text)]
    pool = client.pool
    where = ["-pool", pool.collector] if pool.collector else []
    title = f"{NAME} {' '.join(spelling.spelled(asked))}".rstrip()
    if spelling.given(asked, *LIVE):
        return Listing(program.text(pool, NAME, [*where, *spelling.spelled(asked)]), title=title, plain=True)
    told = _told(pool, [*where, *spelling.spelled(asked)])
    whole = spelling.given(asked, "long", "json", "xml")
    wanted = _wanted(client, asked, told)
    fetch = spelling.spelled(asked, without=_DRAWING)
    got = program.text(pool, NAME, [*where, *fetch, "-long", *(["-attributes", ",".join(wanted)] if wanted else [])])
    with program.scratch(got.encode("utf-8", "replace")) as file:
        drawn = program.text(pool, NAME, [*where, "-ads", str(file), *spelling.spelled(asked)])
    note = "" if got.strip() or not names else f"No ad fits. Do they have {' and '.join(names)}?"
    if whole:
        return Listing(drawn, rows=lambda: longform.ads(got), title=title, plain=True, note=note)
    columns = [(what, what) for what in spelling.expressions(asked)]
    columns = columns or [(head.strip(), what) for head, what in _COLUMN.findall(told) if head != "s"]
    return Listing(
        drawn,
        columns=tuple(dict.fromkeys(head for head, _ in columns)),
        rows=lambda: _rows(pool, got, columns),
        title=title,
        plain=spelling.given(asked, "totals"),
        note=note,
    )


def _told(pool: Pool, words: Sequence[str]) -> str:
    """Return what condor_status says it would ask."""
    done = command.run(pool, NAME, [*words, "-diagnose"])
    told = f"{done.words}\n{done.output.decode('utf-8', 'replace')}"
    if "TargetType = " not in told:  # its exit status is always that of a failure
        raise program.failed(NAME, told)
    return told


def _wanted(client: Door, asked: Sequence[Word], told: str) -> list[str]:
    """Return the attributes that are needed; nothing for all of them."""
    if spelling.given(asked, "long", "json", "xml"):
        return re.findall(r"[^,\s]+", " ".join(spelling.values(asked, "attributes")))
    listed = told.partition("\nProjection:\n")[2]
    named = [line.strip() for line in listed.splitlines() if line.startswith("  ")]
    if not named or spelling.given(asked, "print-format"):
        return []
    condition = re.search(r"(?m)^Requirements = (.*)$", told)
    if condition:
        named += client.call("look", expression=condition[1])
    extra = ["MyType", "Name", "Machine", "SlotType", "State", "OpSys", "Arch", "MyCurrentTime", "LastHeardFrom"]
    return list(dict.fromkeys([*(name for name in named if name.isidentifier()), *extra]))


def _rows(pool: Pool, got: str, columns: Sequence[tuple[str, str]]) -> list[Record]:
    """Return the ads' values, which condor_status works out itself."""
    if not columns or not got.strip():
        return []
    with program.scratch(got.encode("utf-8", "replace")) as file:
        expressions = [_TIMES.get(what, what) for _, what in columns]
        printed = program.text(pool, NAME, ["-ads", str(file), "-af:Vt", *expressions])
    return [
        {
            head: timedelta(seconds=value) if what in _TIMES and isinstance(value, int) else value
            for (head, what), value in zip(columns, map(longform.value_of, line.split("\t")), strict=True)
        }
        for line in printed.splitlines()
        if line.count("\t") == len(columns) - 1
    ]
