"""``%condor_cache``: what is kept of results."""

from __future__ import annotations

import re
import shlex
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_magic, magics_class, no_var_expand
from IPython.core.magic_arguments import argument, magic_arguments

from htcmagic.magics.options import parse
from htcmagic.magics.output import say

if TYPE_CHECKING:
    from htcmagic.functions.cache import Kept
    from htcmagic.queue.listing import Listing

AGE = re.compile(r"(\d{1,6}(?:\.\d+)?)([smhdw])\Z")
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
MOST = 100
"""Results that are deleted without a second word."""
COLUMNS = ("FUNCTION", "RESULTS", "SIZE", "HITS", "LAST_USED", "TOOK")
WIDEST = 40
"""Most characters of a function's name."""


@magics_class
class CacheMagics(Magics):
    """Results that are not computed twice."""

    @no_var_expand
    @line_magic
    @magic_arguments()
    @argument("function", nargs="?", default="", help="only this function; with --clear also: all")
    @argument("--clear", action="store_true", help="delete results, of all functions if none is named")
    @argument("--older", default="", metavar="AGE", help="only what was not used for so long: 30d, 12h, 2w")
    @argument("--yes", action="store_true", help="also more than 100 results, also those of all functions")
    def condor_cache(self, line: str) -> Listing | None:
        """Show what cache=True has kept, by function: results, their size, how often they were used again, when last.

        Example::

            In [1]: %condor_cache

            In [2]: %condor_cache --clear simulate

            In [3]: %condor_cache --clear all --older 30d --yes
        """
        from htcmagic.functions import cache

        args = parse(self.condor_cache, line)
        older = _age(args.older) if args.older else None
        if args.yes and not args.clear:
            raise UsageError("--yes goes with --clear.")
        found = cache.chosen(cache.entries(), args.function or cache.ALL, older)
        if not args.clear:
            return listing(cache.summary(found))
        every = args.function in {"", cache.ALL} and older is None
        if found and not args.yes and (every or len(found) > MOST):
            _ask(len(found), sum(one.bytes for one in found), line)
        number, total = cache.clear(found)
        say(f"{_results(number)} deleted, {cache.size(total)}." if number else "There is nothing to delete.")
        return None


def listing(kept: list[Kept]) -> Listing:
    """Return the table of what is kept."""
    from htcmagic.functions import cache, memo
    from htcmagic.jobs.display import clean, elapsed
    from htcmagic.queue.listing import Listing

    if not kept:
        return Listing("No results are kept. Functions with cache=True keep theirs.", plain=True)
    rows: list[dict[str, object]] = []
    lines: list[tuple[Any, ...]] = []
    for one in kept:
        name = clean(one.function, WIDEST)
        took, used = elapsed(one.took.total_seconds()), one.used.astimezone().strftime("%b %d %H:%M")
        lines.append((name, f"{one.results:,}", cache.size(one.bytes), f"{one.hits:,}", used, took))
        rows.append(
            {
                "FUNCTION": one.function,
                "RESULTS": one.results,
                "SIZE": cache.size(one.bytes),
                "BYTES": one.bytes,
                "HITS": one.hits,
                "LAST_USED": one.used,
                "TOOK": one.took,
            }
        )
    number, total = sum(one.results for one in kept), sum(one.bytes for one in kept)
    note = f"{_results(number)}, {cache.size(total)}, in {memo.folder()}"
    return Listing(f"{_table(lines)}\n\n{note}", columns=COLUMNS, rows=rows, title="Kept results", note=note)


def _table(rows: list[tuple[Any, ...]]) -> str:
    table = [COLUMNS, *rows]
    widths = [max(len(row[at]) for row in table) for at in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(
            [row[0].ljust(widths[0]), *(word.rjust(width) for word, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in table
    )


def _results(number: int) -> str:
    return "1 result" if number == 1 else f"{number:,} results"


def _age(text: str) -> timedelta:
    found = AGE.match(text)
    if found is None:
        raise UsageError(f"--older {text}: not an age. Examples: 30d, 12h, 2w, 90m")
    return timedelta(seconds=float(found[1]) * UNITS[found[2]])


def _ask(number: int, total: int, line: str) -> None:
    from htcmagic.errors import HTCMagicError
    from htcmagic.functions import cache

    again = f"%condor_cache {shlex.join(shlex.split(line))} --yes"
    raise HTCMagicError(
        f"Nothing done yet: {_results(number)} would be deleted, {cache.size(total)}.",
        hint=f"If you mean that: {again}",
    )
