"""What a program of HTCondor's prints, as a table: its text as it is, its data parsed or asked for once more."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from htcmagic.errors import CellError, HTCMagicError, PoolError
from htcmagic.pool import command
from htcmagic.pool.address import Pool
from htcmagic.pool.client import ANSWER_S
from htcmagic.queue import longform
from htcmagic.queue.listing import Listing, Record
from htcmagic.queue.rows import Totals

_TOTALS = re.compile(
    r"(?m)^Total for (.*): (\d+) jobs; " + ", ".join(rf"(\d+) {name}" for name in Totals._fields[1:]) + r" *$"
)
_SILENT = ("no daemon", "can't find", "failed to connect", "unable to", "communication error", "failed to fetch")


@contextlib.contextmanager
def scratch(content: bytes = b"") -> Iterator[Path]:
    """Keep ads in a file that only this user can read, for as long as it is used.

    Raises
    ------
    HTCMagicError
        The folder for temporary files is full, or cannot be written.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="htcmagic-") as folder:
            file = Path(folder) / "ads"
            file.write_bytes(content)
            yield file
    except OSError as error:
        raise HTCMagicError(
            f"Cannot write to {error.filename or tempfile.gettempdir()}: {error.strerror}.",
            hint="Make room there, or set $TMPDIR to another folder and restart the kernel.",
        ) from None


def text(pool: Pool, name: str, words: Sequence[str], *, within_s: float = ANSWER_S) -> str:
    """Return what a program prints.

    Raises
    ------
    CellError
        It does not take these words.
    PoolError
        Those it asks do not answer, or refuse.
    """
    done = command.run(pool, name, words, within_s=within_s)
    printed = done.output.decode("utf-8", "replace")
    if done.status or (done.words and not printed.strip()):
        raise failed(name, done.words or printed)
    return printed


def failed(name: str, said: str) -> HTCMagicError:
    """Return an error that says what a program said."""
    lines = [line.strip() for line in said.partition("Usage:")[0].splitlines() if line.strip(" \t-")]
    told = " ".join(lines[:3]).removeprefix("Error: ").removeprefix("-- ") or "it ended without a word"
    if any(sign in told.lower() for sign in _SILENT):
        return PoolError(f"{name}: {told}", hint="Is it up, and is the address right? %condor_pool", transient=True)
    return CellError(f"{name}: {told}", hint=f"Its options: %{name.removesuffix('_val')}?")


def table(
    pool: Pool,
    name: str,
    words: Sequence[str],
    *,
    title: str = "",
    parse: Callable[[str], list[Record]] | None = None,
    read: Callable[[], list[Record]] | None = None,
    within_s: float = ANSWER_S,
) -> Listing:
    """Run a program and return what it prints.

    Parameters
    ----------
    pool : Pool
        Whose configuration it uses.
    name, words
        The program and its arguments.
    title : str
        What it is, for HTML.
    parse : callable, optional
        Makes rows of its text.
    read : callable, optional
        Gets the rows when they are first asked for. If neither is given the program is asked for them as JSON.
    within_s : float
        Seconds after which it is killed.
    """
    printed = text(pool, name, words, within_s=within_s)

    def rows() -> list[Record]:
        if parse is not None:
            return parse(printed)
        return read() if read else longform.from_json(text(pool, name, [*words, "-json"], within_s=within_s))

    return Listing(printed, rows=rows, title=title or name, plain=parse is None)


def totals(printed: str) -> list[Record]:
    """Return the lines of totals that condor_q prints."""
    names = [name.upper() for name in Totals._fields]
    return [
        {"OF": who, **dict(zip(names, map(int, numbers), strict=True))} for who, *numbers in _TOTALS.findall(printed)
    ]
