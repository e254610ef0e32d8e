"""Functions, cells and arguments as bytes; what cannot be, by the name that the user gave it."""

from __future__ import annotations

import hashlib
import inspect
import io
import pickle
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from htcmagic.errors import CellError
from htcmagic.functions.remote import records
from htcmagic.functions.remote.cell import Cell
from htcmagic.functions.remote.records import Header

LARGEST = 200 << 20
"""Most bytes that travel with a function, or with one task."""
ARGUMENT = "argument"
"""What messages call an argument that has no name."""


@dataclass(frozen=True, slots=True)
class Function:
    """A function or a cell, packed.

    Attributes
    ----------
    name : str
        Digest of its content: its file's name.
    data : bytes
        Its file: one record.
    label : str
        What the user calls it.
    """

    name: str
    data: bytes
    label: str


def function(call: Callable[..., Any]) -> Function:
    """Pack a function, by value what is not in an installed module.

    Raises
    ------
    CellError
        It, or something that it uses, cannot be pickled or is too large.
    """
    if not callable(call):
        raise CellError(f"{_brief(call)} is no function.", hint="Give the function itself, without parentheses.")
    label = getattr(call, "__name__", type(call).__name__)
    body = _packed(call, label, lambda: _used(call))
    return _function({"kind": "function", "label": label}, body, label)


def cell(
    source: str,
    values: Mapping[str, Any],
    modules: Mapping[str, str],
    outputs: tuple[str, ...],
    *,
    asked: bool,
    value: str = "",
) -> Function:
    """Pack a cell with the values of the names that it uses; as in :class:`~htcmagic.functions.remote.cell.Cell`."""
    body = _packed(dict(values), "the cell", lambda: values) if values else b""
    packed = Cell(source, dict(modules), outputs, asked, b"", value)
    return _function(packed.header(), body, "the cell")


def arguments(args: tuple[Any, ...], keywords: Mapping[str, Any], what: str) -> bytes:
    """Pack the arguments of one call.

    Parameters
    ----------
    what : str
        Which call, for messages: ``item 3``.
    """
    named = {**{f"{ARGUMENT} {i + 1}" if len(args) > 1 else ARGUMENT: a for i, a in enumerate(args)}, **keywords}
    return _packed((args, dict(keywords)), what, lambda: named)


def variables(values: Mapping[str, Any], what: str) -> bytes:
    """Pack the variables of one item of a cell."""
    return _packed(dict(values), what, lambda: values)


def _function(header: Header, body: bytes, label: str) -> Function:
    stream = io.BytesIO()
    records.write(stream, {**header, "path": _path()}, [("body", body)])
    data = stream.getvalue()
    return Function(hashlib.sha256(data).hexdigest()[:24], data, label)


def _path() -> list[str]:
    """Return the folders of the notebook's own modules; a job that sees them finds these modules, too."""
    return [
        str(Path.cwd()),
        *(p for p in sys.path if p and Path(p).is_dir() and not p.startswith((sys.prefix, sys.base_prefix))),
    ]


def _packed(value: Any, what: str, parts: Callable[[], Mapping[str, Any]]) -> bytes:
    """Pickle a value; on failure find which of its parts is to blame."""
    try:
        return _pickled(value)
    except TooLarge as error:
        large = _largest(parts())
        blame = f"{_blamed(large[0], what)} is" if large and large[0] != what else f"{what} is"
        raise CellError(
            f"{blame} too large to send: more than {error.limit >> 20} MB.",
            hint="Write it to a file, name that as an input (--inputs FILE, inputs=[FILE]), and read it in the job.",
        ) from None
    except Exception as error:  # noqa: BLE001 - pickling calls everybody's code
        name, why = _culprit(parts(), error)
        blame = _blamed(name, what) if name else what
        raise CellError(
            f"{blame} cannot be sent to a job: {str(why)[:300].rstrip('.')}.",
            hint="Make it inside the function or cell, from values that can be pickled.",
        ) from None


def _blamed(name: str, what: str) -> str:
    if name == ARGUMENT:
        return f"The argument of {what}"
    return f"{name.capitalize()} of {what}" if name.startswith(ARGUMENT) else f"{name}, which {what} uses,"


class TooLarge(Exception):  # noqa: N818
    """More bytes than may travel."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.limit = limit


class _Limited(io.BytesIO):
    def __init__(self, limit: int) -> None:
        super().__init__()
        self._left = limit
        self._limit = limit

    def write(self, data: Any) -> int:
        self._left -= memoryview(data).nbytes
        if self._left < 0:
            raise TooLarge(self._limit)
        return super().write(data)


def fits(value: Any) -> bool:
    """Whether a value can be sent."""
    try:
        _pickled(value)
    except Exception:  # noqa: BLE001 - pickling calls everybody's code
        return False
    return True


def _pickled(value: Any, limit: int | None = None) -> bytes:
    import cloudpickle  # noqa: PLC0415 - not before something is sent

    stream = _Limited(LARGEST if limit is None else limit)
    cloudpickle.dump(value, stream, protocol=5)
    return stream.getvalue()


def _largest(parts: Mapping[str, Any]) -> tuple[str, int] | None:
    for name, value in parts.items():
        try:
            _pickled(value)
        except TooLarge:
            return name, LARGEST
        except Exception:  # noqa: BLE001, S112 - it is not what is looked for
            continue
    return None


def _culprit(parts: Mapping[str, Any], error: Exception) -> tuple[str, Exception]:
    for name, value in parts.items():
        try:
            _pickled(value)
        except TooLarge:
            continue
        except Exception as why:  # noqa: BLE001 - that is the one
            return name, why
    return "", error


def _used(call: Callable[..., Any]) -> dict[str, Any]:
    """Return what a function refers to: of its closure, and of the notebook."""
    plain = inspect.unwrap(getattr(call, "func", call))
    code = getattr(plain, "__code__", None)
    if code is None:
        return dict(getattr(call, "__dict__", {}))
    found = {}
    for name, holder in zip(code.co_freevars, getattr(plain, "__closure__", None) or (), strict=False):
        try:
            found[name] = holder.cell_contents
        except ValueError:  # not yet filled
            continue
    names = _names(code)
    found |= {n: v for n, v in plain.__globals__.items() if n in names and not isinstance(v, ModuleType)}
    return found


def _names(code: Any) -> set[str]:
    found = set(code.co_names)
    for constant in code.co_consts:
        if hasattr(constant, "co_names"):
            found |= _names(constant)
    return found


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:59] + "…"


def loads(data: bytes) -> Any:
    """Unpickle what a job has sent back."""
    return pickle.loads(data)  # noqa: S301 - of our own jobs; the file's owner was looked at
