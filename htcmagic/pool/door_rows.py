"""The door's half that turns ads into plain tuples, fast."""

from __future__ import annotations

import codecs
from typing import Any

import classad2

PLAIN = frozenset({int, float, str, bool, type(None)})
PIECE = 1000


def rows_of(ads: list[Any], projection: list[str], *, spent: bool = False) -> list[tuple[object, ...]]:
    """Return the ads' values in the projection's order, as int, float, str, bool or None.

    Asking an ad for what it lacks costs as much as asking for what it has, so what there is to ask is worked out
    once for all ads with the same attributes. Texts that are in many ads are kept once.

    Parameters
    ----------
    ads : list of ClassAd
        The ads.
    projection : list of str
        The attributes wanted.
    spent : bool
        Empty the list: a queue may hold 100,000 ads, which are then freed bit by bit.
    """
    wanted = [name.lower() for name in projection]
    plans: dict[tuple[str, ...], list[str | None]] = {}
    known: dict[str, str] = {}
    rows: list[tuple[object, ...]] = []
    left = ads if spent else list(ads)
    left.reverse()
    while left:
        piece = left[-PIECE:]
        piece.reverse()
        del left[-PIECE:]
        found = [_row(ad, plans, wanted) for ad in piece]
        if not all(set(map(type, column)) <= PLAIN for column in zip(*found, strict=True)):
            found = [tuple([plain(value, ad) for value in row]) for row, ad in zip(found, piece, strict=True)]
        rows += [tuple([known.setdefault(v, v) if type(v) is str else v for v in row]) for row in found]
    return rows


def _row(ad: Any, plans: dict[tuple[str, ...], list[str | None]], wanted: list[str]) -> tuple[object, ...]:
    names = tuple(ad)
    plan = plans.get(names)
    if plan is None:
        present = {name.lower(): name for name in names}
        plan = plans[names] = [present.get(name) for name in wanted]
    try:
        return tuple([None if name is None else ad[name] for name in plan])
    except UnicodeDecodeError:  # one foreign byte in one job must not break everybody's view
        return tuple([None if name is None else _decoded(ad, name) for name in plan])


def plain(value: Any, ad: Any = None) -> object:
    """Return a ClassAd value as int, float, str, bool, None or, for what is left, its text.

    Parameters
    ----------
    value : object
        What the bindings gave.
    ad : ClassAd, optional
        The ad in which an expression is evaluated.
    """
    if type(value) in PLAIN:
        return value
    if isinstance(value, classad2.Value):
        return None
    if isinstance(value, classad2.ExprTree):
        try:
            simple = value.eval(ad) if ad is not None else value.eval()
        except (classad2.ClassAdException, RuntimeError, ValueError, TypeError):
            return str(value)
        if type(simple) in PLAIN:
            return simple
        return None if isinstance(simple, classad2.Value) else str(value)
    return str(value)


def _decoded(ad: Any, name: str) -> object:
    try:
        return plain(ad[name], ad)
    except UnicodeDecodeError:
        escaped = str(ad.lookup(name))[1:-1]  # other bytes are written in octal
        raw = codecs.escape_decode(escaped.encode())[0]
        return raw.decode("utf-8", "replace") if isinstance(raw, bytes) else str(raw)
