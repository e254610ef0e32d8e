"""Futures as arguments: work starts when its inputs are there, and fails with the chain that led to it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from typing import Any

from htcmagic.errors import DependencyFailed
from htcmagic.jobs.display import clean

LONGEST = 60
"""Most characters of a call's label; a long chain is shown with its ends alone."""
LONGEST_CHAIN = 8
SCALARS = (int, float, complex, str, bytes, bool, type(None))
BOXES = (list, tuple, dict, set, frozenset)


def futures_in(args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Future[Any]]:
    """Return the futures among arguments, each once, those in lists, tuples, sets and dicts included."""
    found: dict[int, Future[Any]] = {}
    boxes: set[int] = set()
    todo: list[Any] = [tuple(args), dict(kwargs)]
    while todo:
        box = todo.pop()
        for value in box.values() if type(box) is dict else box:
            if isinstance(value, Future):
                found.setdefault(id(value), value)
            elif _is_box(value) and id(value) not in boxes:
                boxes.add(id(value))
                todo.append(value)
    return list(found.values())


def filled(args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return arguments with the results of futures in their places; what holds none stays the same object."""
    known: dict[int, Any] = {}
    return tuple(_filled(one, known) for one in args), {name: _filled(one, known) for name, one in kwargs.items()}


def _is_box(value: Any) -> bool:
    return type(value) in BOXES or (isinstance(value, tuple) and hasattr(value, "_make"))


def _filled(value: Any, known: dict[int, Any]) -> Any:
    if isinstance(value, Future):
        return value.result()
    if not _is_box(value) or not futures_in((value,), {}):
        return value
    if id(value) in known:  # the same list twice, or one that holds itself
        return known[id(value)]
    if type(value) is dict:
        new: dict[Any, Any] = {}
        known[id(value)] = new
        new.update((key, _filled(one, known)) for key, one in value.items())
        return new
    if type(value) is list:
        items: list[Any] = []
        known[id(value)] = items
        items.extend(_filled(one, known) for one in value)
        return items
    values = [_filled(one, known) for one in value]
    return type(value)._make(values) if hasattr(value, "_make") else type(value)(values)


def after(
    futures: Sequence[Future[Any]],
    start: Callable[[], Any],
    fail: Callable[[BaseException], Any],
    what: str = "",
) -> None:
    """Call `start` when all futures have results, or `fail` as soon as one has none; one of them, once.

    Parameters
    ----------
    futures : sequence of Future
        The inputs. If all are there, `start` is called before this returns; else in the thread that brings the last.
    start : callable
        Takes nothing. What it raises is given to `fail`.
    fail : callable
        Takes a DependencyFailed that says which input failed, why, and what led to it.
    what : str
        What waits, for that message: :func:`label`.
    """
    gate = _Gate(len(futures), start, fail, what)
    if not futures:
        gate.open()
    for future in futures:
        future.add_done_callback(gate.arrived)


class _Gate:
    """Counts inputs; its lock guards the count, nothing is called under it."""

    def __init__(self, missing: int, start: Callable[[], Any], fail: Callable[[BaseException], Any], what: str) -> None:
        self._missing = missing
        self._start = start
        self._fail = fail
        self._what = what
        self._lock = threading.Lock()

    def arrived(self, future: Future[Any]) -> None:
        broken = future.cancelled() or future.exception() is not None
        with self._lock:
            if self._missing <= 0:  # it has failed already
                return
            self._missing = 0 if broken else self._missing - 1
            if self._missing:
                return
        _in_turn((lambda: self._fail(failed(self._what, future))) if broken else self.open)

    def open(self) -> None:
        try:
            self._start()
        except Exception as error:  # noqa: BLE001 - arguments that cannot be sent, a pool that is gone
            self._fail(error)


_turns = threading.local()


def _in_turn(action: Callable[[], Any]) -> None:
    """Call it; if this thread is within such a call, after that: else a long chain would overflow the stack."""
    waiting: deque[Callable[[], Any]] | None = getattr(_turns, "waiting", None)
    if waiting is not None:
        waiting.append(action)
        return
    _turns.waiting = waiting = deque([action])
    try:
        while waiting:
            waiting.popleft()()
    finally:
        _turns.waiting = None


def failed(what: str, future: Future[Any]) -> DependencyFailed:
    """Return the error of work whose input `future` failed or was cancelled."""
    error = None if future.cancelled() else future.exception()
    root: BaseException = error or CancelledError()
    name, me = told(future), what or "The task"
    chain: tuple[str, ...] = (name,)
    if isinstance(error, DependencyFailed):
        chain, root = _short((name, *error.chain)), error.root or error
    made = DependencyFailed(
        f"{me} was not run: {'its input ' if len(chain) == 1 else ''}{chain[-1]}"
        f"{'' if len(chain) == 1 else ', which it depends on,'} {_became(root)}",
        hint="" if len(chain) == 1 else "  " + " ← ".join((me, *chain)),
        chain=chain,
        root=root,
    )
    made.__cause__ = root
    return made


def _became(root: BaseException) -> str:
    if isinstance(root, CancelledError):
        return "was cancelled."
    first = (str(root).splitlines() or [""])[0]
    kind = type(root).__name__
    return f"raised {kind}: {clean(first, 200)}" if first else f"raised {kind}."


def _short(chain: tuple[str, ...]) -> tuple[str, ...]:
    if len(chain) <= LONGEST_CHAIN:
        return chain
    half = LONGEST_CHAIN // 2
    return (*chain[:half], "…", *chain[-half:])


def told(future: Future[Any]) -> str:
    """Return what a future is called: its attribute ``label``, which :func:`label` makes, or its job's id."""
    name = getattr(future, "label", "")
    if isinstance(name, str) and name:
        return name
    job = getattr(future, "id", None)
    return f"job {job}" if job is not None else f"a {type(future).__name__}"


def label(call: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """Return a call for people, in one line; no code of the arguments' classes runs.

    Examples
    --------
    >>> label(max, (1, [2, 3]), {"key": len})
    'max(1, [2, 3], key=len)'
    """
    words = [_brief(one) for one in args] + [f"{name}={_brief(one)}" for name, one in kwargs.items()]
    inside = ", ".join(words)
    name = clean(str(getattr(call, "__name__", type(call).__name__)), LONGEST)
    room = max(LONGEST - len(name) - 2, 10)
    return f"{name}({inside if len(inside) <= room else inside[: room - 1] + '…'})"


def _brief(value: Any) -> str:
    if isinstance(value, Future):
        short = told(value)
        return short if len(short) <= 16 else f"{clean(short.partition('(')[0], 30)}(…)"
    if type(value) in SCALARS:
        if isinstance(value, int) and value.bit_length() > 200:  # its repr() is slow, or refused
            return "int…"
        long = isinstance(value, str | bytes) and len(value) > 40
        return clean(f"{value[:20]!r}…" if long else repr(value), 100)
    if type(value) in {list, tuple}:
        words = [_brief(one) if type(one) not in BOXES else "…" for one in value[:4]]
        inside = ", ".join([*words, *(["…"] if len(value) > 4 else [])])
        return f"[{inside}]" if type(value) is list else f"({inside}{',' if len(value) == 1 else ''})"
    name = getattr(value, "__name__", None) if callable(value) else None
    return clean(name if isinstance(name, str) else f"<{type(value).__name__}>", 40)
