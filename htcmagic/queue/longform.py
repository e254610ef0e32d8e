"""ClassAds as HTCondor's programs print them, read as dicts: plain values, or an expression's text."""

from __future__ import annotations

import json
import re
from typing import Any

_ESCAPED = re.compile(r"\\([0-7]{1,3}|.)", re.DOTALL)
_SIGNS = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "a": "\a", "v": "\v"}
_WHOLE = re.compile(r"[-+]?\d+")
_REAL = re.compile(r"[-+]?(\d+\.\d*|\.\d+|\d+)([eE][-+]?\d+)?")
_CONSTANTS: dict[str, object] = {"true": True, "false": False, "undefined": None}
_EXPRESSION = re.compile(r"/Expr\((.*)\)/", re.DOTALL)


def ads(text: str) -> list[dict[str, object]]:
    """Return the ads of a text in long form: a line an attribute, empty lines between ads."""
    found: list[dict[str, object]] = []
    ad: dict[str, object] = {}
    for line in text.split("\n"):
        name, sign, value = line.partition("=")
        if sign:
            ad[name.strip()] = value_of(value.strip())
        elif ad and not line.strip():
            found.append(ad)
            ad = {}
    return [*found, ad] if ad else found


def value_of(text: str) -> object:
    """Return what a ClassAd literal stands for; an expression is its own text."""
    if text.startswith('"') and _closes(text):
        return _ESCAPED.sub(_unescaped, text[1:-1])
    if _WHOLE.fullmatch(text):
        return int(text)
    if _REAL.fullmatch(text):
        return float(text)
    return _CONSTANTS.get(text.lower(), text)


def _closes(text: str) -> bool:
    """Whether a text is one string literal and no more."""
    return re.fullmatch(r'"(?:\\.|[^"\\])*"', text, re.DOTALL) is not None


def _unescaped(found: re.Match[str]) -> str:
    sign = found[1]
    return chr(int(sign, 8)) if sign[0] in "01234567" else _SIGNS.get(sign, sign)


def from_json(text: str) -> list[dict[str, object]]:
    """Return the ads of one or more JSON arrays, as HTCondor's programs write them one after the other."""
    decoder, found, at = json.JSONDecoder(strict=False), [], 0
    while at < len(text):
        if text[at].isspace() or text[at] == ",":
            at += 1
            continue
        try:
            value, at = decoder.raw_decode(text, at)
        except ValueError:  # cut off
            break
        found += value if isinstance(value, list) else [value]
    return [{name: _plain(value) for name, value in ad.items()} for ad in found if isinstance(ad, dict)]


def _plain(value: Any) -> object:
    if isinstance(value, str) and (found := _EXPRESSION.fullmatch(value)):
        return found[1]
    return value
