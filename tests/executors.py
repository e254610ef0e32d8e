"""What the tests of spool and executor share."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from htcmagic.functions import payload
from htcmagic.functions.batches import Task

if TYPE_CHECKING:
    import htcmagic

F = TypeVar("F", bound=Callable[..., Any])


def of_notebook(call: F) -> F:
    """Make a test's function look like one that was defined in a notebook: it travels by value."""
    call.__module__ = "__main__"
    return call


def until(true: Callable[[], Any], within_s: float = 20) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, "it did not become true"
        time.sleep(0.005)


@of_notebook
def double(x: int) -> int:
    return 2 * x


@of_notebook
def fail(x: Any) -> Any:
    raise ValueError(f"no {x}")


@of_notebook
def rest(seconds: float) -> float:
    import time

    time.sleep(seconds)
    return seconds


def no_jobs(ex: htcmagic.Executor) -> bool:
    """Whether nothing of an executor is in the queue; what was removed may take a moment to leave."""

    def queued() -> Any:
        clusters = ex._execution.workers.clusters
        which = " || ".join(f"ClusterId == {c.id}" for c in clusters) or "false"
        return clusters[0]._client.query(f"({which}) && JobStatus != 3", ["ProcId"]).rows if clusters else []

    until(lambda: not queued(), 10)
    return True


def tasks_of(function: payload.Function, values: Sequence[Any], first: int = 0) -> list[Task]:
    """Return calls of a function as tasks."""
    return [
        ({"id": first + i, "function": function.name, "label": f"task {i}"}, payload.arguments((value,), {}, "x"))
        for i, value in enumerate(values)
    ]
