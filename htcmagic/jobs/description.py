"""A cell's text, split and completed: pure, nothing is sent and nothing is asked."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from htcmagic.errors import CellError
from htcmagic.jobs import commands
from htcmagic.jobs.items import text_of

QUEUE = re.compile(r"^\s*queue(?:\s+(?P<args>.*\S))?\s*$", re.IGNORECASE)
LISTED = re.compile(r"\b(?:in|from|matching(?:\s+(?:files|dirs|any))?)\s*(?:\[[^\]]*\]\s*)?\((.*)\Z", re.IGNORECASE)
"""A queue statement's list: it is closed by a ) at the end of the same line, or else at the start of another."""
HERE = re.compile(r"^\s*[\w.+]+\s*@=\s*(\w+)\s*$")
ASSIGNED = re.compile(r"^\s*(?:\+|MY\.)?([\w.]+)\s*(?:=|@=)", re.IGNORECASE)
USED = re.compile(r"\$(?P<function>\w*)\(\s*(?P<name>[A-Za-z_]\w*)\s*(?P<rest>[:,)\[+?])")
DEFINED = re.compile(r"^\s*(?:el)?if\s+!?\s*defined\s+(\w+)", re.IGNORECASE)

AUTOMATIC = frozenset(
    [
        "cluster",
        "clusterid",
        "process",
        "procid",
        "node",
        "step",
        "row",
        "item",
        "itemindex",
        "submit_file",
        "submit_time",
        "year",
        "month",
        "day",
        "dollar",
        "islinux",
        "iswindows",
        "htcmagic_nil",
    ]
)
"""Macros that HTCondor defines for every job (manual, "Variables in the Submit Description File"), and ours."""
NAMELESS = frozenset({"env", "random_choice", "random_integer", "choice_of", "eval"})
"""Macro functions whose first argument is not the name of a macro."""


@dataclass(frozen=True, slots=True)
class Body:
    """A description, split.

    Attributes
    ----------
    text : str
        All that comes before the queue statement.
    queue : str
        The queue statement's arguments, inline items with it; empty for a bare ``queue``.
    has_queue : bool
        Whether there was one.
    variables : tuple of str
        Names that the queue statement gives to each item's values.
    """

    text: str
    queue: str
    has_queue: bool
    variables: tuple[str, ...]


def split(cell: str) -> Body:
    """Split a cell at its queue statement.

    Raises
    ------
    CellError
        Something follows the queue statement: HTCondor's Python bindings would drop it without a word.
    """
    lines = cell.replace("\r\n", "\n").split("\n")
    tag, continued = "", False
    for number, line in enumerate(lines):
        if tag:
            tag = "" if line.strip() == f"@{tag}" else tag
            continue
        found = None if continued else QUEUE.match(line)
        if found:
            return _at_queue(lines, number, found.group("args") or "")
        continued = line.rstrip().endswith("\\") and not line.lstrip().startswith("#")
        opened = HERE.match(line)
        tag = opened.group(1) if opened else ""
    return Body("\n".join(lines), "", has_queue=False, variables=())


def _at_queue(lines: list[str], number: int, args: str) -> Body:
    first = number
    while args.endswith("\\") and number + 1 < len(lines):
        number += 1
        args = f"{args[:-1].rstrip()} {lines[number].strip()}".strip()
    end = number
    listed = LISTED.search(args)
    if listed and not listed.group(1).rstrip().endswith(")"):
        closing = [n for n in range(number + 1, len(lines)) if lines[n].lstrip().startswith(")")]
        if not closing:
            raise CellError(
                "the queue statement's list is not closed.",
                line=first + 1,
                hint="Close it with a ) at the end of the same line, or on a line of its own.",
            )
        end = closing[0]
    inline = lines[number + 1 : end + 1]
    for later, line in enumerate(lines[end + 1 :], end + 2):
        if line.strip() and not line.lstrip().startswith("#"):
            another = "a second queue statement" if QUEUE.match(line) else "text after the queue statement"
            raise CellError(
                f"there is {another}, which HTCondor's Python bindings do not send.",
                line=later,
                hint="End the cell at its first queue statement and put the rest into a cell of its own.",
            )
    queue = "\n".join([args, *inline])
    return Body("\n".join(lines[:first]), queue, has_queue=True, variables=variables(args))


def variables(queue_args: str) -> tuple[str, ...]:
    """Return the names that a queue statement's arguments give to each item's values."""
    found = re.match(r"(?:\d+\s+|\$\S+\s+)?(.*?)\s*\b(?:in|from|matching)\b", queue_args, re.IGNORECASE)
    if not found:
        return ()
    return tuple(name for name in re.split(r"[\s,]+", found.group(1)) if name) or ("Item",)


def used(values: Iterable[str]) -> dict[str, bool]:
    """Return the macros that some text uses.

    Returns
    -------
    dict of str to bool
        Name as first written: whether it is needed, that is, used at least once without a default.
    """
    names: dict[str, tuple[str, bool]] = {}
    for value in values:
        for found in USED.finditer(value):
            if (found.start() and value[found.start() - 1] == "$") or found.group("function").lower() in NAMELESS:
                continue  # $$(…) is filled in at the match
            name = found.group("name")
            needed = found.group("rest") not in {":", "?"}
            first, so_far = names.get(name.lower(), (name, False))
            names[name.lower()] = (first, so_far or needed)
    return dict(names.values())


def wished(body: Body, taken: Iterable[str] = ()) -> list[str]:
    """Return macros used somewhere in the text and assigned nowhere in it: what a notebook might provide.

    Parameters
    ----------
    taken : iterable of str
        Names that come from elsewhere: items, ``--set``.
    """
    lines = [line for line in body.text.split("\n") if not line.lstrip().startswith("#")]
    assigned = {found.group(1).lower() for line in lines if (found := ASSIGNED.match(line))}
    not_wanted = assigned | AUTOMATIC | {name.lower() for name in (*taken, *body.variables)}
    wanted = [
        *used([*lines, body.queue]),
        *(found.group(1) for line in lines if (found := DEFINED.match(line))),
    ]
    return [name for name in dict.fromkeys(wanted) if name.lower() not in not_wanted]


def undefined(keys: Mapping[str, str], queue: str, known: Iterable[str], columns: Iterable[str]) -> list[str]:
    """Return macros that nothing defines, now that HTCondor has read the description."""
    defined = {name.lower() for name in (*keys, *known, *columns)} | AUTOMATIC
    needed = [name for name, is_needed in used([*keys.values(), queue]).items() if is_needed]
    return [name for name in needed if name.lower() not in defined]


def unused(keys: Mapping[str, str], body: Body) -> list[tuple[str, str]]:
    """Return names that are assigned, are no submit commands, and are used by nothing: probably slips.

    Returns
    -------
    list of (str, str)
        The name as written, and the submit command that was probably meant; empty if none is near.
    """
    known = {_plain(name): name for name in (*commands.COMMANDS, *commands.ALIASES)}
    macros = {name.lower() for name in used([*keys.values(), body.queue, body.text])} | AUTOMATIC
    macros |= {found.group(1).lower() for line in body.text.split("\n") if (found := DEFINED.match(line))}
    slips = []
    for name in keys:
        if "." in name or name.lower() in macros or _plain(name) in known:
            continue
        near = difflib.get_close_matches(_plain(name), known, n=1, cutoff=0.75)
        if near or not name.lower().startswith(("request_", "require_")):  # a pool may have resources of its own
            slips.append((name, known[near[0]] if near else ""))
    return slips


def _plain(name: str) -> str:
    return name.lower().replace("_", "")


def line_of(text: str, name: str) -> int | None:
    """Return the line, counted from 1, that assigns a name."""
    for number, line in enumerate(text.split("\n"), 1):
        found = ASSIGNED.match(line)
        if found and found.group(1).lower() == name.lower():
            return number
    return None


def line_using(text: str, macro: str) -> int | None:
    """Return the line, counted from 1, that uses a macro."""
    pattern = re.compile(rf"\$\w*\(\s*{re.escape(macro)}\b", re.IGNORECASE)
    for number, line in enumerate(text.split("\n"), 1):
        if pattern.search(line):
            return number
    return None


def assignments(macros: Mapping[str, object]) -> list[str]:
    """Return lines that define macros from Python values, taken literally."""
    return [f"{name} = {text_of(value, f'the variable {name}')}" for name, value in macros.items()]
