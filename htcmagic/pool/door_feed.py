"""The door's half of the feed: one projected query for everybody who watches, and what has changed since the last."""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import signal
import time
from collections.abc import Callable
from typing import Any

import classad2
import htcondor2

from htcmagic.errors import HTCMagicError
from htcmagic.pool import door
from htcmagic.pool.address import Pool
from htcmagic.pool.door_ads import references, tree_of
from htcmagic.pool.door_rows import rows_of
from htcmagic.pool.feed_wire import Ask, Ids, News, Row, among

PR_SET_PDEATHSIG = 1
SCHEDULER_UNIVERSE = 7
LONGEST = 2000
"""Characters of a text that are told: arguments may be megabytes."""
_told: dict[Ask, dict[Ids, Row]] = {}
_schedd: dict[str, str] = {}


def attend(_pool: Pool | None, parent: int) -> None:
    """Die with the feed, even when a query holds us fast."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def look(_pool: Pool | None, ask: Ask) -> None:
    """Raise what is wrong with a question."""
    tree_of(ask.constraint)


def feed(pool: Pool, asks: list[Ask]) -> dict[str, Any]:
    """Ask the schedd once for what all of them want.

    Parameters
    ----------
    pool : Pool
        Whose schedd.
    asks : list of Ask
        What is wanted; of those that are not among them nothing is remembered.

    Returns
    -------
    dict
        ``news``: a `News` each, or None where nothing has changed; ``skew_s`` or None; ``took_s``; ``label``; ``me``.
    """
    if not _schedd:
        told = door.locate(pool)
        _schedd.update(label=told["label"], me=told["user"].partition("@")[0] or pwd.getpwuid(os.getuid()).pw_name)
    conditions = [_condition(ask, "" if pool.personal else _schedd["me"]) for ask in asks]
    wanted = dict.fromkeys(name for ask in asks for name in ask.projection)
    trees = {text: classad2.ExprTree(text) for text in conditions}
    if len(trees) > 1:
        wanted |= dict.fromkeys(name for tree in trees.values() for name in references(tree))
    joined = "true" if "true" in trees else next(iter(trees), "false")
    if len(trees) > 1 and joined != "true":  # one that is an error for a job must not hide what others want of it
        joined = " || ".join(f"(isError(!({text})) ? false : ({text}))" for text in trees)
    began, clock = time.perf_counter(), time.time()
    found = door.schedd_of(pool).query(joined, [*wanted, "ServerTime"])
    skew_s = _skew(found, clock + (time.perf_counter() - began) / 2)
    fitting = {text: _fitting(found, trees[text]) if len(trees) > 1 else found for text in trees}
    news = [_news(ask, fitting[text]) for ask, text in zip(asks, conditions, strict=True)]
    for ask in [ask for ask in _told if ask not in asks]:
        del _told[ask]
    return {"news": news, "skew_s": skew_s, "took_s": time.perf_counter() - began, **_schedd}


def _condition(ask: Ask, me: str) -> str:
    parts = [ask.constraint] if ask.constraint.strip() != "true" else []
    if ask.my_jobs and me:
        parts.append(f"Owner == {classad2.quote(me)}")
    if ask.without:
        parts.append(f"JobUniverse == {SCHEDULER_UNIVERSE} || !({among(ask.without)})")  # a DAG is more than its log
    return " && ".join(f"({part})" for part in parts) or "true"


def _fitting(found: list[Any], tree: Any) -> list[Any]:
    if str(tree) == "true":
        return found
    return [ad for ad in found if _holds(tree, ad)]


def _holds(tree: Any, ad: Any) -> bool:
    try:
        value = tree.eval(ad)
    except (classad2.ClassAdException, RuntimeError, ValueError, TypeError):
        return False
    return value is True or (type(value) in {int, float} and value != 0)  # not classad2.Value, which is an int, too


def _news(ask: Ask, found: list[Any]) -> News | None:
    """Compare with what was told last."""
    rows = {(row[0], row[1]): row for row in rows_of(found, list(ask.projection))}
    before = _told.get(ask)
    _told[ask] = rows
    if before is None:
        return News(whole=True, rows=[_cut(row) for row in rows.values()], gone=[])
    changed = [_cut(row) for ids, row in rows.items() if before.get(ids) != row]
    gone = [ids for ids in before if ids not in rows]
    return News(whole=False, rows=changed, gone=gone) if changed or gone else None


def _cut(row: Row) -> Row:
    """Return a row without the end of endless texts."""
    if not any(isinstance(value, str) and len(value) > LONGEST for value in row):
        return row
    return tuple([f"{v[:LONGEST]}…" if isinstance(v, str) and len(v) > LONGEST else v for v in row])


def _skew(found: list[Any], clock: float) -> float | None:
    """Return how far the schedd's clock, told in whole seconds, is ahead of ours."""
    told = found[0].get("ServerTime") if found else None
    return float(told) + 0.5 - clock if isinstance(told, int | float) else None


def duty(pool: Pool) -> float:
    """Return the share of time in which the schedd was busy lately, as its collector knows; 0 if it does not."""
    with contextlib.suppress(HTCMagicError, htcondor2.HTCondorException, ValueError, RuntimeError):
        name = str(door.location(pool).get("Name", ""))
        collector = htcondor2.Collector(pool.collector) if pool.collector else htcondor2.Collector()
        condition = f"Name == {classad2.quote(name)}"
        ads = collector.query(htcondor2.AdType.Schedd, condition, ["RecentDaemonCoreDutyCycle"])
        value = ads[0].get("RecentDaemonCoreDutyCycle") if ads else None
        return float(value) if isinstance(value, int | float) else 0.0
    return 0.0


OPERATIONS: dict[str, Callable[..., Any]] = {
    "feed": feed,
    "feed_attend": attend,
    "feed_look": look,
    "feed_duty": duty,
}
