"""A function's code without what does not matter: where it stands, what it is called, what it says of itself."""

from __future__ import annotations

import dis
from functools import lru_cache
from types import CodeType
from typing import Any

READS = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})
FLAGS = 0x3EF
"""Of ``co_flags`` what changes what the code does: no ``from __future__``, no nesting, no docstring."""
OPTIMIZED = 0x1


@lru_cache(maxsize=2048)
def needs(code: CodeType) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the global names that code reads and the modules that it imports, nested code included."""
    names: set[str] = set()
    modules: set[str] = set()
    for step in dis.get_instructions(code):
        if step.opname in READS:
            names.add(step.argval)
        elif step.opname == "IMPORT_NAME" and step.argval:
            modules.add(step.argval.partition(".")[0])
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            more = needs(constant)
            names |= set(more[0])
            modules |= set(more[1])
    return tuple(sorted(names)), tuple(sorted(modules))


@lru_cache(maxsize=2048)
def normal(code: CodeType) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Return what code does, as plain values, and its constants."""
    steps, constants = code.co_code, list(code.co_consts)
    if "__firstlineno__" in code.co_names:  # a class in a function, from Python 3.13 on
        steps = _without_line(code, constants)
    if code.co_flags & OPTIMIZED and not code.co_name.startswith("<") and _has_docstring(code):
        constants[0] = None
    told = (
        *(code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags & FLAGS),
        *(steps, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars, code.co_exceptiontable),
    )
    return told, tuple(constants)


def _has_docstring(code: CodeType) -> bool:
    """Whether the first constant is a docstring and nothing but that."""
    if not code.co_consts or not isinstance(code.co_consts[0], str):
        return False
    steps = code.co_code
    return not any(steps[at] in dis.hasconst and steps[at + 1] == 0 for at in range(0, len(steps), 2))


def _without_line(code: CodeType, constants: list[Any]) -> bytes:
    steps = bytearray(code.co_code)
    before = None
    for step in dis.get_instructions(code):
        if step.opname == "STORE_NAME" and step.argval == "__firstlineno__" and before is not None:
            steps[before.offset + 1] = 0
            if before.opcode in dis.hasconst and before.arg is not None and before.opname == "LOAD_CONST":
                constants[before.arg] = None
        before = step
    return bytes(steps)
