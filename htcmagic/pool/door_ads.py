"""The door's half of ``%condor_q``'s many views: whole ads to a file, values to rows, and what a constraint says."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import classad2
import htcondor2

from htcmagic.errors import CellError
from htcmagic.pool import door
from htcmagic.pool.address import Pool
from htcmagic.pool.door_rows import plain, rows_of

NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
ON_THE_ACCESS_POINT = frozenset({7, 12})
"""Universes whose jobs run beside the schedd: scheduler and local."""


def ads(  # noqa: PLR0913 - they come from a frame, by name
    pool: Pool,
    constraint: str,
    projection: list[str],
    expressions: list[str],
    *,
    limit: int = -1,
    my_jobs: bool = False,
    totals: bool = False,
    file: str = "",
    hosts: bool = False,
) -> door.Answer:
    """Fetch ads once, for their values and as a file of ClassAds.

    Parameters
    ----------
    pool : Pool
        Whose schedd is asked.
    constraint, limit, my_jobs
        Which jobs.
    projection : list of str
        Attributes that the file's ads must have; empty: all there are.
    expressions : list of str
        What the rows hold: attribute names or ClassAd expressions.
    totals : bool
        Ask for the schedd's own totals, too.
    file : str
        Where the ads are written, in HTCondor's long form; empty: nowhere.
    hosts : bool
        Write where jobs run that run beside the schedd; ``condor_q`` works that out from whom it asks.
    """
    trees = [None if NAME.fullmatch(text) else tree_of(text) for text in expressions]
    wanted = _wanted(projection, expressions, trees)
    schedd = door.schedd_of(pool)
    opts = htcondor2.QueryOpt.DefaultMyJobsOnly if my_jobs else htcondor2.QueryOpt.Default
    found = schedd.query(constraint, wanted, limit=limit, opts=opts)
    if expressions:
        found = by_id(found)
    if file:
        address = str(door.location(pool).get("MyAddress", "")) if hosts else ""
        write(found, Path(file), address)
    return {
        "rows": values_of(found, expressions, trees),
        "owners": sorted({str(row[0]) for row in rows_of(found, ["Owner"])}) if totals else [],
        "summary": door.summary(pool, schedd, mine=my_jobs) if totals else {},
    }


def by_id(found: list[Any]) -> list[Any]:
    """Return ads in the order of their jobs' ids."""
    ids = rows_of(found, ["ClusterId", "ProcId"])
    return [found[at] for at in sorted(range(len(found)), key=ids.__getitem__)]


def _wanted(projection: list[str], expressions: list[str], trees: list[Any]) -> list[str]:
    """Return the attributes to ask for; nothing for all."""
    if not (projection and expressions):
        return projection
    wanted = dict.fromkeys(["ClusterId", "ProcId", *projection])
    for text, tree in zip(expressions, trees, strict=True):
        wanted |= dict.fromkeys([text] if tree is None else references(tree))
    return list(wanted)


def values_of(found: list[Any], expressions: list[str], trees: list[Any]) -> list[tuple[object, ...]]:
    """Return a row an ad, with the value of each expression."""
    if not any(trees):
        return rows_of(found, expressions)
    names = rows_of(found, [text for text, tree in zip(expressions, trees, strict=True) if tree is None])
    rows = []
    for ad, values in zip(found, names, strict=True):
        named = iter(values)
        rows.append(tuple([next(named) if tree is None else plain(tree, ad) for tree in trees]))
    return rows


def write(found: list[Any], file: Path, address: str = "") -> None:
    """Write ads in HTCondor's long form, an empty line between them."""
    with file.open("w", encoding="utf-8", errors="surrogateescape") as stream:
        for ad in found:
            stream.write(long_form(ad))
            if address and "RemoteHost" not in ad and ad.get("JobUniverse") in ON_THE_ACCESS_POINT:
                stream.write(f"RemoteHost = {classad2.quote(address)}\n")
            stream.write("\n")


def long_form(ad: Any) -> str:
    """Return an ad in HTCondor's long form; bytes that are not UTF-8 become surrogates."""
    try:
        return str(ad.printOld())
    except UnicodeDecodeError:
        return "".join(f"{name} = {_literal(ad, name)}\n" for name in sorted(ad, key=str.lower))


def _literal(ad: Any, name: str) -> str:
    """Return a value as the long form has it, where a backslash escapes nothing but a quotation mark."""
    text = str(ad.lookup(name))
    if not re.fullmatch(r'"(?:\\.|[^"\\])*"', text, re.DOTALL):
        return text
    raw = codecs.escape_decode(text[1:-1].encode())[0]
    assert isinstance(raw, bytes)  # noqa: S101 - so it is of bytes
    return '"' + raw.decode("utf-8", "surrogateescape").replace('"', '\\"').replace("\n", " ") + '"'


def tree_of(text: str) -> Any:
    """Return a parsed expression.

    Raises
    ------
    CellError
        It is none.
    """
    try:
        return classad2.ExprTree(text)
    except (classad2.ClassAdException, ValueError, RuntimeError):
        raise CellError(f"{text!r} is not a ClassAd expression.", hint=slip(text)) from None


def slip(text: str) -> str:
    """Return a guess at what is wrong with an expression that does not parse."""
    bare = re.sub(r'"(?:\\.|[^"\\])*"', '""', text)
    if word := re.search(r"\b(and|or|not)\b", bare, re.IGNORECASE):
        sign = {"and": "&&", "or": "||", "not": "!"}[word[1].lower()]
        return f"In a ClassAd expression {word[1]!r} is written {sign}"
    guesses = (
        (not text.strip(), "It is empty."),
        (bare.count('"') % 2, "A quotation mark is not closed."),
        (bare.count("(") != bare.count(")"), "The parentheses do not match."),
        ("'" in bare, 'Strings stand in double quotes: Owner == "alice"'),
        (re.search(r"(?<![=!<>?])=(?![=?!])", bare), "Values are compared by ==: JobStatus == 5"),
        (re.search(r"[=<>&|!+*/?:-]\s*$", bare), "It ends where a value is awaited."),
    )
    return next((guess for sign, guess in guesses if sign), "For example: JobStatus == 5 && RequestMemory > 2048")


def references(tree: Any) -> list[str]:
    """Return the attributes of jobs that an expression names."""
    named = [str(name) for name in classad2.ClassAd().externalRefs(tree)]
    return [name.removeprefix("MY.") for name in named if name and not name.upper().startswith("TARGET.")]


def look(_pool: Pool | None, expression: str) -> door.Answer:
    """Return the attributes that an expression names; an error where it is none."""
    return references(tree_of(expression))


def unheard(pool: Pool, names: list[str]) -> door.Answer:
    """Return those of `names` that no job in the queue has, and the attributes that one has."""
    schedd = door.schedd_of(pool)
    missing = [name for name in names if not schedd.query(f"{name} =!= undefined", ["ClusterId"], limit=1)]
    known: list[str] = []
    if missing:
        known = [str(name) for ad in schedd.query("true", limit=1) for name in ad]
    return missing, known


OPERATIONS: dict[str, Callable[..., door.Answer]] = {"ads": ads, "look": look, "unheard": unheard}
