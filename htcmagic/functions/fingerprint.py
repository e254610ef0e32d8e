"""What a function and its arguments are, as digests that other sessions find again.

Pickles will not do: they depend on the order of sets, on which equal strings are one object, on line numbers. So
values are walked: each gets a digest of its type and of the digests of its parts. Of a function these are its bytecode,
its constants and defaults, what it closes over, and the values of the global names that it reads, hence functions
again; not its name, annotations, docstring, file and lines. What lives in a module stands by its name and the module's
origin. The order of a dict counts, as functions see it; that of keyword arguments and of attributes does not.
"""

from __future__ import annotations

import copyreg
import enum
import functools
import hashlib
import marshal
import pickle
import sys
import types
from collections.abc import Iterable
from pathlib import PurePath
from typing import Any

from htcmagic.functions import bytecode
from htcmagic.functions.origins import is_own, origin

SCALARS = frozenset({int, float, complex, str, bytes, bool, type(None)})
NOT_OF_A_CLASS = frozenset(
    {
        *("__module__", "__dict__", "__weakref__", "__doc__", "__firstlineno__", "__static_attributes__", "_abc_impl"),
        *("__annotations__", "__annotate__", "__annotate_func__", "__annotations_cache__", "__slotnames__"),
        *("__dataclass_fields__", "__conditional_annotations__"),
    }
)
"""What a class is not told by, or what says the same again."""


class Unstable(Exception):  # noqa: N818
    """A value of which nothing can be said that holds in another session.

    Attributes
    ----------
    path : list of str
        The names that lead to it.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.path: list[str] = []


class Walk:
    """Digests of values, each object looked at once.

    Attributes
    ----------
    guessed : bool
        Whether an object stood by what its own class says of it (``__reduce_ex__``): then a second walk must agree.
    paths : bool
        Whether there was a path.
    """

    def __init__(self) -> None:
        self.guessed = False
        self.paths = False
        self._known: dict[int, bytes] = {}
        self._open: dict[int, int] = {}
        self._origins: dict[str, bytes] = {}
        self._kept: list[Any] = []  # as long as a digest is known, no other object may have this id

    def of(self, value: Any) -> bytes:
        """Return the digest of a value.

        Raises
        ------
        Unstable
            It has none.
        """
        if type(value) in SCALARS:
            return _digest("scalar", marshal.dumps(value, 2))
        key = id(value)
        if key in self._known:
            return self._known[key]
        if key in self._open:  # it holds itself
            return _digest("within", str(self._open[key]).encode())
        self._open[key] = len(self._kept)  # in the order of the walk: a place that no other object has
        self._kept.append(value)
        try:
            found = self._walk(value)
        finally:
            del self._open[key]
        self._known[key] = found
        return found

    def _walk(self, value: Any) -> bytes:
        found: bytes = getattr(self, PLAIN.get(type(value)) or self._handler(value))(value)
        return found

    def _handler(self, value: Any) -> str:
        kind = type(value)
        for known, name in ((type, "_class"), (enum.Enum, "_enum"), (PurePath, "_path")):
            if isinstance(value, known):
                return name
        if kind.__module__.partition(".")[0] == "numpy":
            return "_numpy"
        return "_cached" if hasattr(kind, "cache_info") and hasattr(value, "__wrapped__") else "_object"

    def _enum(self, value: enum.Enum) -> bytes:
        return _digest("enum", self.of(type(value)), self.of(value.name), self.of(value.value))

    def _path(self, value: PurePath) -> bytes:
        self.paths = True
        return _digest("path", type(value).__name__.encode(), str(value).encode("utf-8", "surrogateescape"))

    def _cached(self, value: Any) -> bytes:
        return _digest("cached", self.of(value.__wrapped__))

    def _origin(self, module: str) -> bytes:
        if module not in self._origins:
            self._origins[module] = origin(module).encode()
        return self._origins[module]

    def _items(self, name: str, values: Iterable[Any]) -> bytes:
        return _digest(name, *(self.of(one) for one in values))

    def _sequence(self, value: Any) -> bytes:
        name = type(value).__name__
        if set(map(type, value)) <= SCALARS:
            return _digest(f"flat {name}", marshal.dumps(value, 2))
        return self._items(name, value)

    def _set(self, value: Any) -> bytes:
        return _digest(type(value).__name__, *sorted(self.of(one) for one in value))

    def _dict(self, value: dict[Any, Any]) -> bytes:
        return _digest("dict", *(self.of(one) for pair in value.items() for one in pair))

    def _names(self, values: dict[str, Any]) -> bytes:
        """Return the digest of names with values, whose order says nothing."""
        parts = []
        for name in sorted(values):
            try:
                parts += [name.encode("utf-8", "surrogatepass"), self.of(values[name])]
            except Unstable as error:
                error.path.insert(0, name)
                raise
        return _digest("names", *parts)

    def _bytes(self, value: Any) -> bytes:
        return _digest(type(value).__name__, bytes(value))

    def _function(self, value: types.FunctionType) -> bytes:
        if _is_importable(value):
            return self._reference(value)
        space = value.__globals__
        names, imports = bytecode.needs(value.__code__)
        home = str(space.get("__name__", "__main__"))
        used = {name: space[name] for name in names if name in space and name != "__name__"}
        if home != "__main__" and _is_module(home):  # made by a function of that module, as decorators are
            used, imports = used if is_own(home) else {}, (*imports, home)
        held = dict(zip(value.__code__.co_freevars, value.__closure__ or (), strict=True))
        return _digest(
            "function",
            self.of(value.__code__),
            self.of(value.__defaults__),
            self._names(value.__kwdefaults__ or {}),
            self._names(held),
            self._names(used),
            self._names(dict(value.__dict__)),
            *(self._origin(name) for name in sorted(imports)),
        )

    def _cell(self, value: types.CellType) -> bytes:
        try:
            return _digest("cell", self.of(value.cell_contents))
        except ValueError:  # not yet filled
            return _digest("empty")

    def _code(self, value: types.CodeType) -> bytes:
        told, constants = bytecode.normal(value)
        return _digest("code", self.of(told), *(self.of(one) for one in constants))

    def _class(self, value: type) -> bytes:
        if _is_importable(value):
            return self._reference(value)
        told = {name: one for name, one in vars(value).items() if name not in NOT_OF_A_CLASS}
        kinds = getattr(value, "__annotations__", None) or {}
        return _digest(
            "class",
            value.__qualname__.encode(),
            self.of(type(value)),
            *(self.of(base) for base in value.__bases__),
            self._names(told),
            self._names({name: _annotation(kind) for name, kind in kinds.items()}),
        )

    def _reference(self, value: Any) -> bytes:
        home = _home(value)
        return _digest("there", home.encode(), value.__qualname__.encode(), self._origin(home))

    def _module(self, value: types.ModuleType) -> bytes:
        return _digest("module", value.__name__.encode(), self._origin(value.__name__))

    def _method(self, value: types.MethodType) -> bytes:
        return _digest("method", self.of(value.__func__), self.of(value.__self__))

    def _builtin(self, value: types.BuiltinFunctionType) -> bytes:
        owner = value.__self__
        name = value.__qualname__.encode()
        if owner is None or isinstance(owner, types.ModuleType):
            home = value.__module__ or getattr(owner, "__name__", "")
            return _digest("builtin", home.encode(), name, self._origin(home))
        return _digest("builtin of", name, self.of(owner))

    def _wrapped(self, value: Any) -> bytes:
        return _digest(type(value).__name__, self.of(getattr(value, "func", None) or value.__func__))

    def _property(self, value: property) -> bytes:
        return self._items("property", (value.fget, value.fset, value.fdel))

    def _numpy(self, value: Any) -> bytes:
        import numpy as np  # noqa: PLC0415 - it is there already

        if type(value) in {np.ndarray, np.memmap}:
            return self._array(np.asarray(value), np)
        if isinstance(value, np.generic) and not value.dtype.hasobject and not value.dtype.names:
            return _digest("scalar of numpy", value.dtype.str.encode(), value.tobytes())
        if isinstance(value, np.ufunc):
            name = str(value.__name__)
            home = _whichmodule(value, name)
            if getattr(sys.modules.get(home), name, None) is not value:
                raise Unstable(f"{name!r} is a ufunc that no module has")
            return _digest("ufunc", home.encode(), name.encode(), self._origin(home))
        return self._object(value)

    def _array(self, value: Any, np: Any) -> bytes:
        shape = str(value.shape).encode()
        if value.dtype.names:  # between fields there may be bytes that mean nothing
            return _digest(
                "records", shape, *(self.of(part) for name in value.dtype.names for part in (name, value[name]))
            )
        if value.dtype.hasobject:
            return _digest("objects", shape, *(self.of(one) for one in value.ravel().tolist()))
        flat = np.ascontiguousarray(value).reshape(-1)
        body = flat.view(np.uint8) if flat.size and flat.dtype.itemsize else b""
        return _digest("array", value.dtype.str.encode(), shape, body)

    def _object(self, value: Any) -> bytes:
        """Return the digest of what an object's class says is needed to make it again."""
        self.guessed = True
        kind = type(value)
        reducer = copyreg.dispatch_table.get(kind)
        try:
            told = reducer(value) if reducer is not None else value.__reduce_ex__(4)
        except Exception as error:  # noqa: BLE001 - everybody's code
            raise Unstable(f"{kind.__name__}: {error}") from None
        if isinstance(told, str):
            home = _home(value) or _whichmodule(value, told)
            return _digest("there", home.encode(), told.encode(), self._origin(home))
        make, arguments, state, items, pairs = (*told, None, None, None)[:5]
        parts = state if isinstance(state, tuple) and len(state) == 2 else (state,)
        return _digest(
            "object",
            self.of(make),
            self.of(arguments),
            *(self._names(part) if _is_state(part) else self.of(part) for part in parts),
            *([self._items("items", items)] if items is not None else []),
            *([self._items("pairs", (one for pair in pairs for one in pair))] if pairs is not None else []),
        )


PLAIN: dict[type, str] = {
    **dict.fromkeys((list, tuple), "_sequence"),
    **dict.fromkeys((set, frozenset), "_set"),
    **dict.fromkeys((bytearray, memoryview), "_bytes"),
    **dict.fromkeys((classmethod, staticmethod, functools.cached_property), "_wrapped"),
    **dict.fromkeys((dict, types.MappingProxyType), "_dict"),
    types.FunctionType: "_function",
    types.CellType: "_cell",
    types.CodeType: "_code",
    types.ModuleType: "_module",
    types.MethodType: "_method",
    types.BuiltinFunctionType: "_builtin",
    property: "_property",
    type: "_class",
}


def _digest(kind: str, *parts: Any) -> bytes:
    found = hashlib.blake2b(kind.encode(), digest_size=20)
    for part in parts:
        found.update(b"%d:" % len(part))
        found.update(part)
    return found.digest()


def _is_state(part: Any) -> bool:
    return type(part) is dict and all(type(name) is str for name in part)


def _annotation(kind: Any) -> str:
    return kind if isinstance(kind, str) else getattr(kind, "__qualname__", None) or repr(kind)


def _home(value: Any) -> str:
    return str(getattr(value, "__module__", None) or "")


def _whichmodule(value: Any, name: str) -> str:
    return str(pickle.whichmodule(value, name))  # type: ignore[attr-defined]  # undocumented, and old


def _is_module(name: str) -> bool:
    module = sys.modules.get(name)
    return module is not None and name != "__main__" and getattr(module, "__spec__", None) is not None


def _is_importable(value: Any) -> bool:
    """Whether its module has it under its name, as pickle wants it."""
    home = _home(value)
    if not _is_module(home):
        return False
    try:
        return functools.reduce(getattr, value.__qualname__.split("."), sys.modules[home]) is value
    except AttributeError:
        return False
