"""Names of maps, and the private folders that hold what is kept of them: a folder a tag."""

from __future__ import annotations

import difflib
import itertools
import json
import os
import re
import secrets
import shutil
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from htcmagic import places
from htcmagic.errors import CellError, HTCMagicError
from htcmagic.jobs.display import clean

LONGEST = 100
LONGEST_BYTES = 200
"""Of a tag in UTF-8: it is a folder's name, and those have 255."""
STAGED = ".new-"
"""How folders begin that are not yet, or no longer, a map's."""
SHOWN = 8


def home() -> Path:
    """Return the folder of all maps; it need not exist."""
    return places.home() / "maps"


def checked(tag: object) -> str:
    """Return a tag as it is kept.

    Raises
    ------
    CellError
        It cannot be the name of a map.
    """
    if not isinstance(tag, str):
        raise CellError(f"A tag is a text, not {type(tag).__name__}.", hint='For example: tag="simulation1"')
    text = unicodedata.normalize("NFC", tag)
    shown = clean(repr(tag), 60)
    hint = 'For example: tag="simulation 1"'
    if not text.strip():
        raise CellError("The tag is empty.", hint=hint)
    if text != text.strip():
        raise CellError(f"The tag {shown} begins or ends with a blank.", hint=f"Leave it out: tag={text.strip()!r}")
    if "/" in text or "\\" in text:
        raise CellError(f"The tag {shown} has a slash in it.", hint=f"For example: tag={_plain(text)!r}")
    if text.startswith(".") or ".." in text:
        why = "begins with a point" if text.startswith(".") else "has two points in a row"
        raise CellError(f"The tag {shown} {why}.", hint=f"For example: tag={_plain(text)!r}")
    if not text.isprintable():  # control and formatting characters, line ends, surrogates
        raise CellError(f"The tag {shown} has a character that cannot be seen.", hint=hint)
    if len(text) > LONGEST or len(text.encode()) > LONGEST_BYTES:
        raise CellError(f"The tag {shown} is too long: more than {LONGEST} characters.", hint=hint)
    return text


def _plain(text: str) -> str:
    """Return a tag like this one that would do."""
    return re.sub(r"[^\w .+=-]+", "-", re.sub(r"\.+", ".", text)).strip(". -")[:LONGEST] or "simulation1"


def known() -> list[str]:
    """Return all tags, those of the newest maps first."""
    try:
        with os.scandir(home()) as entries:
            found = [(e.stat().st_ctime_ns, e.name) for e in entries if e.is_dir() and not e.name.startswith(".")]
    except OSError:
        return []
    return [name for _, name in sorted(found, reverse=True)]


def automatic(label: str) -> Iterator[str]:
    """Yield tags for maps of a function of this name that the user gave none: ``double-1``, ``double-2`` …."""
    stem = re.sub(r"\W+", "", clean(label, 40)) or "map"
    stem = "map" if stem in {"lambda", "_"} else stem
    taken = {int(n) for tag in known() for n in re.findall(rf"^{re.escape(stem)}-(\d{{1,9}})$", tag)}
    yield from (f"{stem}-{number}" for number in itertools.count(max(taken, default=0) + 1))


def unknown(name: str, others: list[str]) -> HTCMagicError:
    """Return what to raise where nothing has this name."""
    near = difflib.get_close_matches(name, others, n=1, cutoff=0.5)
    near = near or [each for each in others if each.lower() == name.lower() or name.lower() in each.lower()][:1]
    if near:
        hint = f"Did you mean {near[0]!r}?"
    elif others:
        more = f", and {len(others) - SHOWN} more" if len(others) > SHOWN else ""
        hint = f"There are: {', '.join(repr(each) for each in others[:SHOWN])}{more}"
    else:
        hint = "There is none yet: htcmagic.map(function, items, tag=…) makes one."
    return HTCMagicError(f"There is no map {clean(repr(name), 80)} of yours.", hint=hint)


class MapDir:
    """The files of one map.

    Parameters
    ----------
    path : Path
        Its folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def staged(cls) -> MapDir:
        """Make a new folder that has no tag yet."""
        path = places.private(home()) / f"{STAGED}{secrets.token_hex(8)}"
        try:
            path.mkdir(mode=0o700)
            (path / "results").mkdir()
        except OSError as error:
            raise unwritable(path, error) from None
        return cls(path)

    @classmethod
    def of(cls, tag: str) -> MapDir | None:
        """Return the folder of a tag; None if there is none."""
        found = cls(home() / tag)
        return found if found.record_file.exists() else None

    @property
    def tag(self) -> str:
        """Its tag."""
        return self.path.name

    @property
    def record_file(self) -> Path:
        """What it is, and which jobs were sent for it."""
        return self.path / "map.json"

    @property
    def function_file(self) -> Path:
        """The function, a record."""
        return self.path / "function"

    @property
    def tasks_file(self) -> Path:
        """The arguments of all calls, a record each."""
        return self.path / "tasks"

    @property
    def results_dir(self) -> Path:
        """Results that no job brought: found in the cache, or of calls whose inputs failed."""
        return self.path / "results"

    def files_dir(self, index: int) -> Path:
        """Return where output files of one call are put."""
        return self.path / "files" / str(index)

    def save(self, told: dict[str, Any]) -> None:
        """Keep what it is."""
        new = self.path / ".map.json.new"
        try:
            new.write_text(json.dumps(told, indent=1), encoding="utf-8")
            new.replace(self.record_file)
        except OSError as error:
            raise unwritable(self.record_file, error) from None

    def load(self) -> dict[str, Any]:
        """Read it again.

        Raises
        ------
        HTCMagicError
            It is damaged.
        """
        try:
            told: dict[str, Any] = json.loads(self.record_file.read_text(encoding="utf-8"))
            _ = told["count"], told["legs"], told["function"], told["label"]
        except (OSError, ValueError, LookupError, TypeError):
            raise HTCMagicError(
                f"What is kept of the map {clean(repr(self.tag), 80)} is damaged: {self.record_file}.",
                hint="Run it again with overwrite=True.",
            ) from None
        return told

    def take(self, tag: str) -> bool:
        """Give it a tag; False if another map has that."""
        target = home() / tag
        try:
            self.path.rename(target)
        except OSError as error:
            if target.exists():
                return False
            raise unwritable(target, error) from None
        self.path = target
        return True

    def discard(self) -> None:
        """Delete it."""
        delete(self.path)


def delete(folder: Path) -> None:
    """Delete a folder; first its name, so that nobody finds it half deleted or goes on writing to it."""
    gone = home() / f"{STAGED}{secrets.token_hex(8)}"
    try:
        folder.rename(gone)
    except OSError:
        gone = folder
    shutil.rmtree(gone, ignore_errors=True)


def unwritable(path: Path, error: OSError) -> HTCMagicError:
    """Return what to raise for a disk that is full, or not ours to write to."""
    why = error.strerror or str(error)
    return HTCMagicError(
        f"Cannot write {error.filename or path}: {why}.", hint="Make room, or set HTCMAGIC_HOME elsewhere."
    )
