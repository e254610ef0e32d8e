"""Python values as queue items: from what ``--over`` names to rows of text that HTCondor takes literally."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import PurePath
from typing import Any

from htcmagic.errors import CellError

NOTHING = "$(htcmagic_nil)"
"""A macro of ours that is empty: it keeps blanks, and lines that HTCondor would take for something else."""
LITERAL = re.compile(r"(?<!\$)\$(?=\w*\(|\Z)")
"""What would begin a macro, alone or with what a description writes behind it."""
UNFIT = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]|\$(?=\(dollar\))", re.IGNORECASE)
"""What no macro can hold; kept under a number where an item is only kept, not used in a description."""
ESCAPED = re.compile(r"\$\((?:DOLLAR|htcmagic_nil|htcmagic_char_([0-9a-f]+))\)")
OWN = "htcmagic_"
"""Columns of ours; the user's own, where a description must not see it under its name, is ``htcmagic_item_NAME``."""
KEPT_COLUMN = f"{OWN}item_"
NAME = re.compile(r"[A-Za-z_]\w*\Z")
MOST_ITEMS = 10_000_000


@dataclass(frozen=True, slots=True)
class Items:
    """Queue items.

    Attributes
    ----------
    columns : tuple of str
        Names of the macros.
    rows : list of tuple of str
        Values as HTCondor is given them (escaped).
    """

    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]

    def dicts(self) -> list[dict[str, str]]:
        """Return each row as a mapping."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]

    def shown(self) -> Items:
        """Return the columns that are the user's, under their own names."""
        wanted = [number for number, column in enumerate(self.columns) if own_name(column)]
        columns = tuple(own_name(self.columns[number]) for number in wanted)
        return Items(columns, [tuple(row[number] for number in wanted) for row in self.rows])


def own_name(column: str) -> str:
    """Return what the user calls a column; empty for one of ours."""
    if column.startswith(KEPT_COLUMN):
        return column[len(KEPT_COLUMN) :]
    return "" if column.startswith(OWN) else column


def kept(text: str) -> str:
    """Return any text as it can be kept among the items; :func:`original` gives it back."""
    parts = [
        f"$(htcmagic_char_{ord(part):x})" if number % 2 else LITERAL.sub("$(DOLLAR)", part)
        for number, part in enumerate(re.split(f"({UNFIT.pattern})", text, flags=re.IGNORECASE))
    ]
    return _guarded("".join(parts))


def original(text: str) -> str:
    """Return what HTCondor was given, as the user gave it to us."""
    return ESCAPED.sub(_meant, text)


def _meant(found: re.Match[str]) -> str:
    if found.group(1):
        return chr(int(found.group(1), 16))
    return "$" if found.group() == "$(DOLLAR)" else ""


def text_of(value: Any, what: str) -> str:
    """Return a scalar as HTCondor is to read it: literally, ``$(…)`` in it included.

    Raises
    ------
    CellError
        It is no scalar, or holds what HTCondor cannot take literally.
    """
    text = plain(value, what)
    if any(c in text for c in "\n\r\x1f\0"):
        raise CellError(f"{what} holds a line break or a control character, which HTCondor cannot take in a macro.")
    if "$(dollar)" in text.lower():
        raise CellError(f"{what} holds the text $(DOLLAR), which HTCondor always makes a $.")
    return _guarded(LITERAL.sub("$(DOLLAR)", text))


def plain(value: Any, what: str) -> str:
    """Return a scalar as text.

    Raises
    ------
    CellError
        It is no scalar.
    """
    if not isinstance(value, str | int | float | PurePath):
        scalar = getattr(value, "item", None)  # numpy's and pandas' scalars
        converted = scalar() if callable(scalar) and getattr(value, "ndim", 0) == 0 else value
        if not isinstance(converted, str | int | float):
            raise CellError(
                f"{what} is of type {type(value).__name__}: a macro takes str, int, float or Path.",
                hint="Convert it first, for example with str().",
            )
        value = converted
    return str(value)


def _guarded(text: str) -> str:
    """Keep blanks, and what HTCondor would take for something else, by an empty macro beside it."""
    if not text or text[0].isspace() or text[0] in "#()":
        text = NOTHING + text
    if text[-1].isspace() or text[-1] == "\\":
        text += NOTHING
    return text


def read(value: Any, name: str, text: Callable[[Any, str], str] = text_of, alone: str = "Item") -> Items:
    """Turn any iterable of scalars, tuples or mappings, or a data frame, into queue items.

    Parameters
    ----------
    value : iterable
        Scalars become the macro ``$(Item)``; tuples ``$(Item0)``, ``$(Item1)`` …, named tuples their fields; mappings
        their keys; a data frame its columns.
    name : str
        How the user calls it, for messages.
    text : callable
        Makes text of one value; told what it is, for messages.
    alone : str
        What values are called that come without a name.

    Raises
    ------
    CellError
        It is not iterable, empty, or its items do not fit together.
    """
    if hasattr(value, "to_dict") and hasattr(value, "columns"):  # pandas, polars and their like
        columns = [str(column) for column in value.columns]
        value = [dict(zip(columns, row, strict=True)) for row in _frame_rows(value)]
    if getattr(value, "ndim", 1) == 2 and hasattr(value, "tolist"):  # a numpy array of rows
        value = value.tolist()
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise CellError(
            f"--over {name}: {type(value).__name__} is not a list of items.",
            hint="Give a list, a range, a list of tuples or dicts, or a data frame; a dict d as d.items().",
        )
    entries = list(islice(value, MOST_ITEMS))
    if not entries:
        raise CellError(f"--over {name}: it is empty, so there is no job to send.")
    columns_of_first = _columns(entries[0], name, alone)
    scalars = not isinstance(entries[0], Mapping | tuple | list)
    rows = []
    for number, entry in enumerate(entries):
        what = f"--over {name}: item {number}"
        values = zip(_row(entry, columns_of_first, what, scalars=scalars), columns_of_first, strict=True)
        rows.append(
            tuple(v if type(v) is str and v.isalnum() else text(v, f"{what}, {column}") for v, column in values)
        )
    return Items(columns_of_first, rows)


def _frame_rows(frame: Any) -> Iterable[tuple[Any, ...]]:
    if hasattr(frame, "itertuples"):
        rows: Iterable[tuple[Any, ...]] = frame.itertuples(index=False, name=None)
        return rows
    iterated: Iterable[tuple[Any, ...]] = frame.iter_rows()
    return iterated


def _columns(entry: Any, name: str, alone: str) -> tuple[str, ...]:
    if isinstance(entry, Mapping):
        columns = tuple(str(key) for key in entry)
    elif isinstance(entry, tuple | list):
        fields = getattr(entry, "_fields", None)
        columns = tuple(fields) if fields else tuple(f"{alone}{n}" for n in range(len(entry)))
    else:
        return (alone,)
    bad = [column for column in columns if not NAME.match(column)]
    if bad or not columns:
        raise CellError(
            f"--over {name}: {bad[0]!r} cannot be the name of a macro." if bad else f"--over {name}: empty items.",
            hint="Names are letters, digits and _; rename the key or column.",
        )
    return columns


def _row(entry: Any, columns: tuple[str, ...], what: str, *, scalars: bool) -> Iterable[Any]:
    if isinstance(entry, Mapping):
        if len(entry) != len(columns) or any(column not in entry for column in columns):
            raise CellError(f"{what} has other keys than the first: {', '.join(map(str, entry))}.")
        return [entry[column] for column in columns]
    if isinstance(entry, tuple | list):
        if len(entry) != len(columns):
            raise CellError(f"{what} has {len(entry)} values, the first has {len(columns)}.")
        return entry
    if not scalars:
        raise CellError(f"{what} is a {type(entry).__name__}, the first is not.")
    return (entry,)
