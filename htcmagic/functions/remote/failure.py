"""An exception as data: what happened where, with the local variables; without our own frames."""

from __future__ import annotations

import linecache
import reprlib
from types import TracebackType
from typing import Any

LONGEST = 2000
"""Most characters of a message, most frames of a traceback are a tenth of it."""
VARIABLES, CAUSES = 30, 4
OURS = ("htcmagic/functions/remote/", "cloudpickle/cloudpickle.py")
_short = reprlib.Repr()
_short.maxstring = _short.maxother = 200


def describe(error: BaseException, depth: int = 0) -> dict[str, Any]:
    """Return an exception as what JSON can carry.

    Returns
    -------
    dict
        ``type``, ``message``, ``frames`` (outermost first; each ``file``, ``line``, ``name``, ``text``, ``locals``),
        and ``cause`` or ``context``, exceptions again, where it has one.
    """
    told: dict[str, Any] = {
        "type": _name(type(error)),
        "message": _text(error),
        "frames": _frames(error.__traceback__),
    }
    if isinstance(error, SyntaxError):
        told["syntax"] = [error.filename, error.lineno, error.text]
    if depth < CAUSES:
        if error.__cause__ is not None:
            told["cause"] = describe(error.__cause__, depth + 1)
        elif error.__context__ is not None and not error.__suppress_context__:
            told["context"] = describe(error.__context__, depth + 1)
    return told


def _name(kind: type) -> str:
    plain = kind.__module__ in {"builtins", "__main__"}
    return kind.__qualname__ if plain else f"{kind.__module__}.{kind.__qualname__}"


def _text(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - somebody else's __str__
        text = "<its text cannot be had>"
    return text if len(text) <= LONGEST else text[:LONGEST] + "…"


def _frames(traceback: TracebackType | None) -> list[dict[str, Any]]:
    found = []
    while traceback is not None:
        code, line = traceback.tb_frame.f_code, traceback.tb_lineno
        if not any(mark in code.co_filename for mark in OURS):
            told = {
                "file": code.co_filename,
                "line": line,
                "name": code.co_name,
                "text": linecache.getline(code.co_filename, line).strip()[:LONGEST],
                "locals": {},
            }
            found.append((told, traceback.tb_frame.f_locals))
        traceback = traceback.tb_next
    kept = found[-(LONGEST // 10) :]
    for told, variables in kept[-5:]:
        told["locals"] = _variables(variables)
    return [told for told, _ in kept]


def _variables(values: dict[str, Any]) -> dict[str, str]:
    shown: dict[str, str] = {}
    for name, value in list(values.items())[: 10 * VARIABLES]:
        if name.startswith("__") or type(value).__name__ in {"module", "function"} or len(shown) >= VARIABLES:
            continue
        try:
            shown[name] = _short.repr(value)
        except Exception:  # noqa: BLE001 - somebody else's __repr__
            shown[name] = f"<{type(value).__name__}>"
    return shown
