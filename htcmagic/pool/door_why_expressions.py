"""ClassAd expressions as text: parts joined by ``&&``, the attributes they name, and where those are looked up."""

from __future__ import annotations

import re
from typing import NamedTuple

TOKEN = re.compile(
    r"""(?P<string>"(?:\\.|[^"\\])*")|(?P<quoted>'(?:\\.|[^'\\])*')|(?P<number>\d[\w.]*)|(?P<name>[A-Za-z_]\w*)"""
    r"""|(?P<op>&&|\|\||=\?=|=!=|==|!=|<=|>=|\?:|\S)|(?P<blank>\s+)""",
    re.DOTALL,
)
WORDS = frozenset({"true", "false", "undefined", "error", "is", "isnt", "my", "target", "parent", "self"})
WEAKER = frozenset({"||", "?", "?:"})
"""Operators that bind less than ``&&``."""
LONGEST = 100_000
"""Characters of an expression that is still taken apart."""


class Token(NamedTuple):
    """A piece of an expression."""

    kind: str
    text: str


class Name(NamedTuple):
    """An attribute that an expression names."""

    place: int
    """Which token."""
    scope: str
    """``my``, ``target`` or empty."""
    name: str


def tokens(text: str) -> list[Token]:
    """Return the pieces, blanks included, so that they make up the text again."""
    return [Token(str(found.lastgroup), found.group()) for found in TOKEN.finditer(text)]


def conjuncts(text: str) -> list[str]:
    """Return the parts of an expression that must all be true; one part where it is no conjunction.

    Examples
    --------
    >>> conjuncts('(a == "x && y") && (b || c) && (d && e)')
    ['a == "x && y"', 'b || c', 'd', 'e']
    """
    if len(text) > LONGEST:
        return [text]
    parts, left = [], [tokens(text)]
    while left:
        part = _bare(left.pop())
        split = _split(part)
        if len(split) == 1:
            parts.append("".join(token.text for token in part))
        else:
            left.extend(reversed(split))
    return parts


def _bare(part: list[Token]) -> list[Token]:
    """Return a part without outer blanks and parentheses."""
    first, last = 0, len(part)
    closing = _closing(part)
    while True:
        while first < last and part[first].kind == "blank":
            first += 1
        while last > first and part[last - 1].kind == "blank":
            last -= 1
        if first < last and part[first].text == "(" and closing.get(first) == last - 1:
            first, last = first + 1, last - 1
        else:
            return part[first:last]


def _closing(part: list[Token]) -> dict[int, int]:
    """Return where each bracket is closed."""
    opened: list[int] = []
    closing = {}
    for place, token in enumerate(part):
        if token.kind == "op" and token.text in "([{":
            opened.append(place)
        elif token.kind == "op" and token.text in ")]}" and opened:
            closing[opened.pop()] = place
    return closing


def _split(part: list[Token], operator: str = "&&", weaker: frozenset[str] = WEAKER) -> list[list[Token]]:
    """Return what stands between an operator; the whole part where one that binds less is beside it."""
    depth, pieces = 0, [[]]  # type: tuple[int, list[list[Token]]]
    for token in part:
        if token.kind == "op":
            if token.text in "([{":
                depth += 1
            elif token.text in ")]}":
                depth -= 1
            elif not depth and token.text in weaker:
                return [part]
            elif not depth and token.text == operator:
                pieces.append([])
                continue
        pieces[-1].append(token)
    return pieces


def disjuncts(text: str) -> list[str]:
    """Return the parts of an expression of which one must be true, without blanks.

    Examples
    --------
    >>> disjuncts('f(a || b) || (TARGET.Disk >= RequestDisk)')
    ['f(a||b)', 'TARGET.Disk>=RequestDisk']
    """
    parts = _split(_bare(tokens(text)), "||", WEAKER - {"||"})
    return ["".join(token.text for token in _bare(part) if token.kind != "blank") for part in parts]


def names(text: str) -> list[Name]:
    """Return the attributes that an expression names, in order; function names and words of the language are none."""
    return _names(tokens(text))


def _names(pieces: list[Token]) -> list[Name]:
    solid = [place for place, token in enumerate(pieces) if token.kind != "blank"]
    found = []
    for at, place in enumerate(solid):
        token = pieces[place]
        if token.kind not in {"name", "quoted"}:
            continue
        following = pieces[solid[at + 1]].text if at + 1 < len(solid) else ""
        scope = ""
        if at and pieces[solid[at - 1]].text == ".":
            scope = pieces[solid[at - 2]].text.lower() if at > 1 else "?"
            if scope not in {"my", "target"}:
                continue  # a member of something else
        name = token.text[1:-1] if token.kind == "quoted" else token.text
        if token.kind == "name" and (following == "(" or (not scope and name.lower() in WORDS)):
            continue
        found.append(Name(place, scope, name))
    return found


def attributes(text: str) -> set[str]:
    """Return the lower-cased names of all attributes that an expression names, in whatever ad."""
    return {found.name.lower() for found in names(text)}


def rescoped(text: str, own: frozenset[str] | set[str]) -> str:
    """Return an expression as matchmaking reads it: a name that its own ad lacks is the other ad's.

    Parameters
    ----------
    text : str
        The expression.
    own : set of str
        Lower-cased names of the attributes of its own ad.
    """
    pieces = tokens(text)
    for found in _names(pieces):
        if not found.scope and found.name.lower() not in own:
            old = pieces[found.place].text
            new = "time()" if found.name.lower() == "currenttime" else f"TARGET.{old}"
            pieces[found.place] = Token("name", new)
    return "".join(token.text for token in pieces)
