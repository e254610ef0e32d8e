"""Results that are not computed twice: keys of calls, and the results that are kept under them.

A key is a digest of the function's code and of what it uses, of the arguments, of Python's minor version and of the
distributions that the modules it uses come from: the same in every session. Results lie below the folder of htcmagic as
the very records that jobs have written; there are only those of calls that returned.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import json
import os
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from htcmagic import places
from htcmagic.errors import HTCMagicError
from htcmagic.functions import results
from htcmagic.functions.fingerprint import Unstable, Walk
from htcmagic.functions.remote.records import CHUNK, Record
from htcmagic.jobs.display import clean

FORM = "1"
"""Of keys; another one makes everything be computed again."""
LONGEST_LABEL = 100
ROUNDED = 512
"""Bytes of a header are a multiple of it, so that a result that is cleared and computed again lies as it lay."""


class CacheWarning(UserWarning):
    """A call runs without the cache, or with a cache that does not look at everything."""


class Key(str):
    """A key, and what the function is called.

    Attributes
    ----------
    label : str
        The function's name, which is not part of the key.
    """

    __slots__ = ("label",)
    label: str


class Keys:
    """The keys of one function's calls: the function is looked at once.

    Parameters
    ----------
    call : callable
        The function.
    environment : str
        Where it runs, if that is not the notebook's own Python.
    """

    def __init__(self, call: Callable[..., Any], *, environment: str = "") -> None:
        plain = getattr(call, "func", call)  # of functools.partial
        self.label = clean(str(getattr(plain, "__name__", type(plain).__name__)), LONGEST_LABEL)
        python = f"{sys.implementation.name} {sys.version_info[0]}.{sys.version_info[1]}"
        self._base = f"{FORM}\0{python}\0{environment}".encode()
        self._code = self._part("", call)
        self._signature: inspect.Signature | None = None
        with contextlib.suppress(TypeError, ValueError):
            self._signature = inspect.signature(call)

    def of(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Key | None:
        """Return the key of one call; None if there is none, which is warned of once for each function."""
        if self._code is None:
            return None
        digest = hashlib.blake2b(self._base + self._code, digest_size=20)
        for name, value in self._named(args, kwargs):
            part = self._part(name, value)
            if part is None:
                return None
            digest.update(f"{name}\0".encode("utf-8", "surrogatepass") + part)
        found = Key(digest.hexdigest())
        found.label = self.label
        return found

    def _named(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[tuple[str, Any]]:
        """Return arguments by name, so that ``f(1)`` and ``f(x=1)`` are the same call."""
        if self._signature is not None:
            with contextlib.suppress(TypeError):
                bound = self._signature.bind(*args, **kwargs).arguments
                extra = {n for n, p in self._signature.parameters.items() if p.kind is inspect.Parameter.VAR_KEYWORD}
                more = [(f"**{n}", v) for name in extra for n, v in sorted(bound.get(name, {}).items())]
                return [*((name, value) for name, value in bound.items() if name not in extra), *more]
        return [*((f"argument {i + 1}", one) for i, one in enumerate(args)), *sorted(kwargs.items())]

    def _part(self, name: str, value: Any) -> bytes | None:
        """Return the digest of the function (no name) or of an argument."""
        walk = Walk()
        try:
            found = walk.of(value)
            again = Walk().of(value) if walk.guessed else found
        except Exception as error:  # noqa: BLE001 - of no call may be said that the cache was its end
            self._warn_unstable(name, error)
            return None
        if again != found:
            self._warn_unstable(name, Unstable("it says something else of itself each time"))
            return None
        if walk.paths:
            _warn_once(
                f"{self.label} is cached by the names of the files that it is given, not by what is in them.",
                f"path {self.label}",
            )
        return found

    def _warn_unstable(self, name: str, error: Exception) -> None:
        path = [*([name] if name else []), *(error.path if isinstance(error, Unstable) else [])][:4]
        which = clean(" → ".join(path), LONGEST_LABEL)
        reason = "it holds too much of itself" if isinstance(error, RecursionError) else clean(str(error), 200)
        role = f"{which}, which it {'is given' if name else 'uses'}," if path else "it"
        _warn_once(
            f"{self.label} is not cached: {role} cannot be recognised in another session ({reason}).",
            f"unstable {self.label}",
        )


def key(
    call: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], *, environment: str = ""
) -> Key | None:
    """Return the key of one call; None if it cannot be cached, which is warned of once for each function."""
    return Keys(call, environment=environment).of(args, kwargs)


def folder() -> Path:
    """Return where results are kept; it need not exist."""
    return places.home() / "cache"


def hits_file(label: str) -> Path:
    """Return the file that is as long as results of a function were found."""
    return folder() / "hits" / hashlib.blake2b(label.encode("utf-8", "replace"), digest_size=16).hexdigest()


def get(key: str, into: Path | None = None) -> Record | None:
    """Return the result that is kept under a key, and count that; None without one.

    What is damaged counts as none, and so does what belongs to another user: that is warned of, and not read.

    Parameters
    ----------
    key : str
        As :func:`key` returns it.
    into : Path, optional
        A folder, made if need be, into which the result is linked: there it stays when the cache is cleared.
    """
    record = _read(folder() / key[:2] / key, key)
    if record is None:
        return None
    with contextlib.suppress(OSError):
        os.utime(record.path)
        _count(str(record.header.get("function", "")))
    return record if into is None else _linked(record, into / key, key)


def _linked(record: Record, target: Path, key: str) -> Record | None:
    try:
        target.parent.mkdir(mode=0o700, exist_ok=True)
        try:
            target.hardlink_to(record.path)
        except FileExistsError:
            pass
        except OSError:  # another file system
            shutil.copyfile(record.path, target)
    except OSError:
        return None
    return _read(target, key)


def _read(path: Path, key: str) -> Record | None:
    try:
        record = next(results.read(path), None)
    except HTCMagicError as error:
        _warn_once(f"A kept result is not used. {error.message}", "owner")
        return None
    except (OSError, ValueError, LookupError, TypeError):  # there is none, or it is damaged
        return None
    return record if record is not None and record.header.get("key") == key else None


def put(key: str, record: Record, label: str = "") -> None:
    """Keep the result of a call that returned; of others, nothing. A full disk is warned of, and not an error.

    Parameters
    ----------
    key : str
        As :func:`key` returns it.
    record : Record
        The result, output files included.
    label : str
        What the function is called, for ``%condor_cache``; as in the key if not given.
    """
    if not record.header["ok"]:
        return
    header = {name: value for name, value in record.header.items() if name not in {"id", "folder"}}
    header |= {"id": 0, "key": str(key), "function": label or getattr(key, "label", ""), "stored": time.time()}
    try:
        places.private(folder())
        place = places.private(folder() / key[:2])
        _write(place / key, header, record)
    except (OSError, HTCMagicError) as error:
        _warn_once(f"Results are not kept: {clean(str(error).splitlines()[0], 300)}", "write")


def _write(path: Path, header: dict[str, Any], record: Record) -> None:
    """Write a result, unless there is one: who is just reading that must not be given another."""
    line = json.dumps(header, separators=(",", ":")).encode()
    line += b" " * (-(len(line) + 1) % ROUNDED) + b"\n"
    descriptor, new = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    try:
        with os.fdopen(descriptor, "wb") as target, Path(record.path).open("rb") as source:
            target.write(line)
            source.seek(record.offset)
            _copy(source, target, sum(size for _, size in header["parts"]))
        try:
            path.hardlink_to(new)
        except OSError:  # it is there, or this file system has no links
            if _read(path, header["key"]) is None:
                Path(new).replace(path)
    finally:
        Path(new).unlink(missing_ok=True)


def _copy(source: IO[bytes], target: IO[bytes], size: int) -> None:
    while size:
        block = source.read(min(size, CHUNK))
        if not block:
            raise OSError("The result's file has become shorter.")
        target.write(block)
        size -= len(block)


def _count(label: str) -> None:
    path = hits_file(label)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    except FileNotFoundError:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, b".")
    finally:
        os.close(descriptor)


_warned: set[str] = set()


def _warn_once(text: str, about: str) -> None:
    """Warn once in this session, at the user's own line where there is one."""
    if about in _warned:
        return
    _warned.add(about)
    ours = {"htcmagic", "concurrent", "threading"}
    frame, depth = sys._getframe(1), 2  # noqa: SLF001 - as warnings does
    while frame is not None and str(frame.f_globals.get("__name__", "")).partition(".")[0] in ours:
        frame, depth = frame.f_back, depth + 1  # type: ignore[assignment]
    warnings.warn(text, CacheWarning, stacklevel=depth if frame is not None else 2)
