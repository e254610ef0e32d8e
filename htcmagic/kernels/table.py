"""A small table that can be printed and shown in a notebook."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

LONGEST = 60
"""Characters of one cell that are kept in text."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text under a head.

    Attributes
    ----------
    head : tuple of str
        The columns' names.
    rows : tuple of tuple of str
        As many cells each.
    """

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __repr__(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> Iterator[str]:
        """Yield the table as text, a line each; the last column may be as long as it likes."""
        shown = [[_printable(cell.upper()) for cell in self.head]]
        shown += [[*(_short(_printable(cell)) for cell in row[:-1]), _printable(row[-1])] for row in self.rows]
        widths = [max(len(row[number]) for row in shown) for number in range(len(self.head))]
        for row in shown:
            yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()

    def _repr_html_(self) -> str:
        from html import escape  # noqa: PLC0415 - only in notebooks

        def line(cells: Sequence[str], tag: str) -> str:
            style = "text-align:left;padding:2px 10px"
            return "".join(f'<{tag} style="{style}">{escape(_printable(cell))}</{tag}>' for cell in cells)

        body = "".join(f"<tr>{line(row, 'td')}</tr>" for row in self.rows)
        return (
            '<table style="border-collapse:collapse;font-size:13px">'
            f"<thead><tr>{line(self.head, 'th')}</tr></thead><tbody>{body}</tbody></table>"
        )


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
