"""Functions packed once as long as nothing has changed that goes along with them."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

from htcmagic.functions import payload
from htcmagic.functions.payload import Function

FROZEN = (bool, int, float, complex, str, bytes, type(None), ModuleType, BuiltinFunctionType)
MOST = 200
"""Values that are compared; a function that uses more is packed each time, as one is that uses what can change."""


class Packer:
    """Packs functions; the same one again only if something that it uses may have changed."""

    def __init__(self) -> None:
        self._known: weakref.WeakKeyDictionary[Any, tuple[list[Any], Function]] = weakref.WeakKeyDictionary()

    def function(self, call: Callable[..., Any]) -> Function:
        """Pack a function.

        Raises
        ------
        CellError
            It, or something that it uses, cannot be pickled or is too large.
        """
        seen: list[Any] = []
        if not isinstance(call, FunctionType) or not _look(call, seen, set()):
            return payload.function(call)
        known = self._known.get(call)
        if (
            known is not None
            and len(known[0]) == len(seen)
            and all(a is b for a, b in zip(*(known[0], seen), strict=True))
        ):
            return known[1]
        packed = payload.function(call)
        self._known[call] = seen, packed
        return packed


_names: weakref.WeakKeyDictionary[CodeType, tuple[str, ...]] = weakref.WeakKeyDictionary()


def _look(call: FunctionType, seen: list[Any], functions: set[FunctionType]) -> bool:
    """Collect what a function uses; False if some of it can change without being another object."""
    functions.add(call)
    seen.append(call.__code__)
    if call.__dict__:
        return False
    values = [*(call.__defaults__ or ()), *(call.__kwdefaults__ or {}).values()]
    for holder in call.__closure__ or ():
        try:
            values.append(holder.cell_contents)
        except ValueError:
            return False
    there = call.__globals__
    values += [there[name] for name in _used(call.__code__) if name in there]
    for value in values:
        if type(value) is FunctionType:
            if value not in functions and not _look(value, seen, functions):
                return False
        elif type(value) not in FROZEN:
            return False
        else:
            seen.append(value)
        if len(seen) > MOST:
            return False
    return True


def _used(code: CodeType) -> tuple[str, ...]:
    found = _names.get(code)
    if found is None:
        names = set(code.co_names)
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                names |= set(_used(constant))
        found = _names[code] = tuple(sorted(names))
    return found
