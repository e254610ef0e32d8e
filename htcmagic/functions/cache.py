"""What is kept of results: counted for each function, and cleared."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from htcmagic.errors import HTCMagicError
from htcmagic.functions import memo, results

ALL = "all"
NAMELESS = "unnamed"
"""What damaged results are listed under."""
STALE_S = 3600.0
"""Age of a file that is still being written after which its writer is taken for dead."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One result.

    Attributes
    ----------
    function : str
        What it was called when it was computed.
    used : float
        When it was kept or last found.
    seconds : float
        How long it took to compute.
    """

    path: Path
    function: str
    bytes: int
    used: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of one function."""

    function: str
    results: int
    bytes: int
    hits: int
    used: datetime
    took: timedelta


def entries() -> list[Entry]:
    """Return all results of this user that are kept, damaged ones as well."""
    found = []
    for path in _files():
        try:
            info = path.stat(follow_symlinks=False)
            header = next((one.header for one in results.read(path)), {})
        except FileNotFoundError:
            continue
        except (OSError, ValueError, LookupError, TypeError, HTCMagicError):
            header = {}
        name, took = header.get("function") or NAMELESS, header.get("seconds", 0.0)
        found.append(Entry(path, str(name), info.st_size, info.st_mtime, float(took)))
    return found


def summary(found: Sequence[Entry]) -> list[Kept]:
    """Return results by function, the largest first."""
    functions: dict[str, list[Entry]] = {}
    for one in found:
        functions.setdefault(one.function, []).append(one)
    kept = []
    for name, mine in functions.items():
        kept.append(
            Kept(
                name,
                len(mine),
                sum(one.bytes for one in mine),
                _hits(name),
                datetime.fromtimestamp(max(one.used for one in mine), UTC),
                timedelta(seconds=sum(one.seconds for one in mine)),
            )
        )
    return sorted(kept, key=lambda one: (-one.bytes, one.function))


def clear(found: Sequence[Entry]) -> tuple[int, int]:
    """Delete results; return how many, and their bytes."""
    number = total = 0
    for one in found:
        with contextlib.suppress(FileNotFoundError):
            one.path.unlink()
            number, total = number + 1, total + one.bytes
    left = {one.function for one in entries()}
    for name in {one.function for one in found} - left:
        memo.hits_file(name).unlink(missing_ok=True)
    for folder in _folders():
        for scratch in folder.glob(".new-*"):
            with contextlib.suppress(FileNotFoundError):
                if datetime.now(UTC).timestamp() - scratch.stat().st_mtime > STALE_S:
                    scratch.unlink()
        with contextlib.suppress(OSError):
            folder.rmdir()
    return number, total


def chosen(found: Sequence[Entry], function: str = ALL, older: timedelta | None = None) -> list[Entry]:
    """Return the results of one function, or of all, that were not used for so long.

    Raises
    ------
    HTCMagicError
        Nothing is kept of this function.
    """
    named = [one for one in found if function in (ALL, one.function)]
    if not named and function != ALL:
        names = sorted({one.function for one in found})
        known = f"There are results of {', '.join(names[:5])}{' …' if len(names) > 5 else ''}." if names else ""
        raise HTCMagicError(f"No results of {function} are kept.", hint=known or "No results are kept at all.")
    if older is None:
        return named
    until = (datetime.now(UTC) - older).timestamp()
    return [one for one in named if one.used < until]


def size(number: float) -> str:
    """Return bytes in words.

    Examples
    --------
    >>> size(900), size(123_456), size(5_300_000_000)
    ('900 B', '123 kB', '5.3 GB')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if number < 999.5:
            return f"{number:.0f} {unit}" if unit in {"B", "kB"} or number >= 99.5 else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


def _hits(name: str) -> int:
    try:
        return memo.hits_file(name).stat().st_size
    except OSError:
        return 0


def _folders() -> Iterator[Path]:
    with contextlib.suppress(FileNotFoundError):
        yield from sorted(one for one in memo.folder().iterdir() if len(one.name) == 2 and one.is_dir())


def _files() -> Iterator[Path]:
    for folder in _folders():
        with contextlib.suppress(FileNotFoundError):
            yield from sorted(one for one in folder.iterdir() if not one.name.startswith("."))
