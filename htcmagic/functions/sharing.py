"""Warm workers that tasks share: one executor for all that ask for the same."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from htcmagic.functions import jobs, place
from htcmagic.functions.executor import Executor

if TYPE_CHECKING:
    from htcmagic.functions.task import Task
    from htcmagic.functions.taskfuture import TaskFuture

NAME = "tasks"
_shared: dict[tuple[Any, ...], Executor] = {}
_guard = threading.Lock()


def submit(task: Task[Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> TaskFuture:
    """Have a task's call run by the workers that it shares with all tasks that ask for the same."""
    wanted = _wanted(task.options)
    with _guard:
        found = _shared.get(wanted)
        if found is None or _is_over(found):
            found = _shared[wanted] = Executor(**{"cache": True, "name": NAME, **task.options})
            found._execution.name_of_end = f"{task.__name__}.shutdown()"  # noqa: SLF001 - ours as well
    return found._execution.submit(task.__wrapped__, args, kwargs, cache=task.cache)  # noqa: SLF001


def end(task: Task[Any]) -> None:
    """End the workers that a task shares, if there are any; calls without result are cancelled."""
    with _guard:
        found = _shared.pop(_wanted(task.options), None)
    if found is not None:
        found.shutdown(wait=False, cancel_futures=True)


def _wanted(options: Mapping[str, Any]) -> tuple[Any, ...]:
    asked = {**jobs.DEFAULTS, **place.defaults(), **options}
    return tuple(sorted((name, repr(value)) for name, value in asked.items()))


def _is_over(executor: Executor) -> bool:
    return executor._shut or executor._execution.ended  # noqa: SLF001
