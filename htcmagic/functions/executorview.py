"""An executor as text and as a bar in the notebook that stays live."""

from __future__ import annotations

import time
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from htcmagic.jobs.display import COLOURS, LONGEST_NAME, clean
from htcmagic.jobs.model import JobState

if TYPE_CHECKING:
    from htcmagic.functions.executing import Execution

NAME = "executor"
"""Of one that was given none."""
SHORTEST_S = 0.25
"""Shortest time between two updates of one view."""
TASKS = {
    "done": COLOURS[JobState.DONE],
    "failed": COLOURS[JobState.FAILED],
    "cancelled": COLOURS[JobState.REMOVED],
    "running": COLOURS[JobState.RUNNING],
    "waiting": COLOURS[JobState.IDLE],
    "blocked": "#9b7fc4",
}


@dataclass(frozen=True)
class Status:
    """What an executor's tasks and workers do.

    Attributes
    ----------
    name : str
        Its name.
    tasks : dict
        How many are ``waiting``, ``blocked`` (for their arguments), ``running`` (taken by a worker), ``done``,
        ``failed``, ``cancelled``.
    workers : dict
        How many worker jobs are in which state.
    reasons : tuple of str
        Why workers do not work.
    ended : bool
        Whether it was shut down.
    """

    name: str
    tasks: dict[str, int]
    workers: dict[str, int]
    reasons: tuple[str, ...]
    ended: bool = False

    def lines(self) -> list[str]:
        """Return it as lines of text."""
        tasks = _counted(self.tasks) or "none yet"
        workers = _counted(self.workers) or "none"
        return [f"{self.title}: tasks: {tasks}; {'shut down' if self.ended else f'workers: {workers}'}", *self.reasons]

    @property
    def title(self) -> str:
        """Its name for people."""
        return f"Executor {clean(self.name, LONGEST_NAME)}" if self.name not in {"", NAME} else "Executor"

    def __repr__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        total = max(1, sum(self.tasks.values()))
        bar = "".join(
            f'<div title="{self.tasks[name]:,} {name}" style="width:{100 * self.tasks[name] / total:.3f}%;'
            f'background:{colour}"></div>'
            for name, colour in TASKS.items()
            if self.tasks.get(name)
        )
        legend = "".join(
            '<span style="margin-right:1em;white-space:nowrap"><span style="display:inline-block;width:.7em;'
            f'height:.7em;border-radius:2px;background:{colour};margin-right:.35em"></span>{self.tasks[name]:,}&nbsp;{name}</span>'
            for name, colour in TASKS.items()
            if self.tasks.get(name)
        )
        workers = "shut down" if self.ended else f"workers: {_counted(self.workers) or 'none'}"
        below = "".join(f'<div style="margin-top:.3em;color:#b57e00">{escape(text)}</div>' for text in self.reasons)
        return (
            '<div class="htcmagic-executor" style="font-family:var(--jp-ui-font-family,sans-serif);font-size:13px;'
            'max-width:52em;padding:.35em 0">'
            '<div style="display:flex;justify-content:space-between;margin-bottom:.3em">'
            f'<b>{escape(self.title)}</b><span style="opacity:.7">{escape(workers)}</span></div>'
            '<div style="display:flex;height:.8em;border-radius:4px;overflow:hidden;background:#8883">'
            f'{bar}</div><div style="margin-top:.35em">{legend or "no tasks yet"}</div>{below}</div>'
        )


def _counted(numbers: dict[str, int]) -> str:
    return ", ".join(f"{number:,} {name}" for name, number in numbers.items() if number)


def status(execution: Execution, *, ask: bool = False) -> Status:
    """Look at an executor.

    Parameters
    ----------
    ask : bool
        Ask the pool why workers are idle, if some are.
    """
    counts = execution.counts
    ended = execution.ended
    running = 0 if ended else execution.running()
    blocked = len(execution.blocked)
    waiting = max(0, execution.open - running - blocked)
    tasks = {"done": counts["done"], "failed": counts["failed"], "running": running, "waiting": waiting}
    tasks |= {"blocked": blocked, "cancelled": counts["cancelled"]}
    states = execution.workers.states
    order = (JobState.RUNNING, JobState.IDLE, JobState.HELD)
    workers = {state.value: states[state] for state in order if states[state]}
    reasons = () if ended else tuple(execution.workers.reasons(ask=ask))
    return Status(execution.plan.name, tasks, workers, reasons, ended)


def sentence(execution: Execution) -> str:
    """Return what tasks and workers do, for messages."""
    now = status(execution)
    workers = f"Workers: {_counted(now.workers)}." if now.workers else "There is no worker yet."
    return " ".join([workers, *(reason.rstrip(".") + "." for reason in now.reasons)])


class View:
    """The places on the screen where one executor is shown; updated from the collector's thread."""

    def __init__(self, execution: Execution) -> None:
        self._execution = execution
        self._handles: list[Any] = []
        self._shown = ""
        self._next = 0.0

    def show(self) -> None:
        """Show it here, too; in a notebook the view stays live."""
        from IPython import get_ipython  # noqa: PLC0415 - only where there is a front end
        from IPython.display import display  # noqa: PLC0415

        data = self._data()
        if getattr(get_ipython(), "kernel", None) is None:
            display(data, raw=True)
            return
        handle = display(data, raw=True, display_id=True)
        if handle is not None and not self._execution.ended:
            self._handles.append(handle)
            self._execution.view = self.update

    def update(self, final: bool = False) -> None:  # noqa: FBT001, FBT002 - called back
        """Bring all views up to date if what they show has changed."""
        now = time.monotonic()
        if not self._handles or (now < self._next and not final):
            return
        self._next = now + SHORTEST_S
        data = self._data()
        if data["text/html"] != self._shown:
            self._shown = data["text/html"]
            for handle in self._handles:
                handle.update(data, raw=True)
        if final:
            self._handles.clear()

    def _data(self) -> dict[str, str]:
        now = status(self._execution)
        return {"text/html": now._repr_html_(), "text/plain": repr(now)}
