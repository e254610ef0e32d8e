"""A table of whatever one of HTCondor's programs shows: its text as it is, its data when asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias, overload

from htcmagic.queue import listing_html
from htcmagic.queue.frame import pandas
from htcmagic.queue.text import harmless

if TYPE_CHECKING:
    import pandas as pd

Record: TypeAlias = dict[str, object]


class Listing(Sequence[Record]):
    """What a program of HTCondor's printed, and the same as data.

    Parameters
    ----------
    text : str
        What it printed.
    columns : sequence of str, optional
        The rows' keys, in order; None: those of all rows.
    rows : sequence of dict, or callable
        The data, or what gives it when it is first asked for.
    title : str
        What it is, for HTML.
    note : str
        A line for the user that the program does not print.
    plain : bool
        HTML shows the text, as its columns are no table.
    seconds : bool
        HTML shows times to the second.
    """

    def __init__(
        self,
        text: str,
        *,
        columns: Sequence[str] | None = None,
        rows: Sequence[Record] | Callable[[], Sequence[Record]] = (),
        title: str = "",
        note: str = "",
        plain: bool = False,
        seconds: bool = False,
    ) -> None:
        self.text = harmless(text)
        self.note = note
        self._columns = None if columns is None else tuple(columns)
        self._rows = rows
        self._title = title
        self._plain = plain
        self._seconds = seconds

    @cached_property
    def rows(self) -> tuple[Record, ...]:
        """The rows, made when they are first asked for."""
        return tuple(self._rows() if callable(self._rows) else self._rows)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The names of the program's columns, or of the ads' attributes."""
        if self._columns is not None:
            return self._columns
        return tuple(dict.fromkeys(name for row in self.rows for name in row))

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Record, ...]: ...
    def __getitem__(self, index: int | slice) -> Record | tuple[Record, ...]:
        return self.rows[index]

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__

    def _repr_html_(self) -> str:
        if self._plain:
            return listing_html.plain(self.text, title=self._title, note=self.note)
        return listing_html.table(self.columns, self.rows, title=self._title, note=self.note, seconds=self._seconds)

    def to_dicts(self) -> list[Record]:
        """Return a dict a row, under the names of the program's columns."""
        return [dict(row) for row in self.rows]

    def to_dataframe(self) -> pd.DataFrame:
        """Return the rows as a pandas data frame.

        Raises
        ------
        HTCMagicError
            Pandas is not installed.
        """
        module = pandas()
        frame: pd.DataFrame = module.DataFrame(self.to_dicts(), columns=list(self.columns))
        for name in self.columns:
            kinds = {type(row.get(name)) for row in self.rows} - {type(None)}
            if kinds == {datetime}:
                frame[name] = module.to_datetime(frame[name], utc=True)
            elif kinds == {timedelta}:
                frame[name] = module.to_timedelta(frame[name])
        return frame
