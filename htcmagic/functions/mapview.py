"""A map's progress as HTML and as a line of text, and the views of it on the screen."""

from __future__ import annotations

import math
import time
from collections import Counter
from html import escape
from typing import TYPE_CHECKING, Any

from htcmagic.functions.mapindex import FAILED, LOST
from htcmagic.jobs.display import COLOURS, LONGEST_NAME, LONGEST_REASON, clean, elapsed
from htcmagic.jobs.model import JobState

if TYPE_CHECKING:
    from htcmagic.functions.maprun import Run

ORDER = (JobState.DONE, JobState.FAILED, JobState.REMOVED, JobState.RUNNING, JobState.HELD, JobState.IDLE)
SHORTEST_S = 0.25
"""Shortest time between two updates of a view."""
ETA_S = 3.0
"""So long jobs have to be running before their speed says something."""


class Look:
    """One look at a map.

    Parameters
    ----------
    run : Run
        The map.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.counts: Counter[JobState] = run.counts()
        self.total = run.index.count
        self.progress = min(math.fsum(leg.progress() for leg in run.legs), self.counts[JobState.RUNNING])

    @property
    def title(self) -> str:
        """The tag, and the clusters."""
        ids = [str(leg.cluster.id) for leg in self.run.legs if leg.cluster is not None]
        jobs = f" ({', '.join(ids)})" if ids else ""
        return clean(self.run.folder.tag, LONGEST_NAME) + jobs

    @property
    def what(self) -> str:
        """The function and the number of items."""
        items = "1 item" if self.total == 1 else f"{self.total:,} items"
        return f"{clean(str(self.run.told['label']), LONGEST_NAME)}, {items}"

    @property
    def counted(self) -> str:
        """Counts in words."""
        words = [f"{self.counts[state]:,} {state.value}" for state in ORDER if self.counts[state]]
        return ", ".join(words) or "nothing to do"

    @property
    def through(self) -> str:
        """How far it is where jobs tell more than whether they are done."""
        if not self.progress or not self.total:
            return ""
        ended = sum(self.counts[state] for state in JobState if state.final)
        return f"{100 * (ended + self.progress) / self.total:.0f} %"

    @property
    def age(self) -> str:
        """How long it has been under way, or took."""
        created = float(self.run.told["created"])
        until = self.run.ended if self.run.done and self.run.ended else time.time()
        return elapsed(until - created)

    @property
    def left(self) -> str:
        """How long it will probably take; empty if there is no telling."""
        done = self.counts[JobState.DONE] + self.counts[JobState.FAILED] + self.progress
        remaining = self.counts[JobState.RUNNING] + self.counts[JobState.IDLE] - self.progress
        starts = [leg.cluster.summary().started for leg in self.run.legs if leg.cluster is not None]
        started = min([each for each in starts if each], default=0.0)
        spent = time.time() - started
        if self.run.done or not started or not self.counts[JobState.RUNNING] or spent < ETA_S or done < 1:
            return ""
        return f"about {elapsed(spent / done * remaining)} left"

    @property
    def notes(self) -> list[tuple[str, str]]:
        """What the user should know, and its colour: why jobs are held, the first failure, who is asked."""
        found = []
        for leg in self.run.legs:
            if leg.cluster is None or self.run.done:
                continue
            summary = leg.cluster.summary()
            if summary.hold is not None:
                reason = clean(summary.hold.reason, LONGEST_REASON)
                found.append((f"{leg.cluster.id}.{summary.hold_proc} held: {reason}", "#b57e00"))
            if leg.cluster.note:
                found.append((clean(leg.cluster.note, LONGEST_REASON), "#888"))
        if (bad := self.counts[JobState.FAILED]) and (first := self.first_failure()):
            found.append((first if bad == 1 else f"{first} (and {bad - 1:,} more: .errors)", "#c0392b"))
        return found

    def first_failure(self) -> str:
        """Return the first failed item and what it raised, in a line."""
        places = [self.run.index.states.find(state) for state in (FAILED, LOST)]
        item = min([place for place in places if place >= 0], default=-1)
        return "" if item < 0 else f"item {item}: {brief(self.run.error(item))}"

    def line(self) -> str:
        """Return one line for a terminal."""
        extra = [text for text in (self.through, self.age, self.left) if text]
        said = "; ".join([", ".join([self.counted, *extra]), *(text for text, _ in self.notes)])
        return f"{self.title}: {self.what}: {said}"

    def html(self) -> str:
        """Return the progress bar; every foreign text in it is escaped."""
        total = max(1, self.total)
        widths = [(state, float(self.counts[state])) for state in ORDER if self.counts[state]]
        widths = [(s, w - self.progress if s is JobState.RUNNING else w) for s, w in widths]  # the rest counts as done
        segments = "".join(
            f'<div title="{self.counts[state]:,} {state.value}" style="width:{100 * width / total:.3f}%;'
            f'background:{COLOURS[state]}"></div>'
            for state, width in [(JobState.DONE, self.progress), *widths]
            if width > 0
        )
        legend = "".join(
            f'<span style="margin-right:1em;white-space:nowrap"><span style="display:inline-block;width:.7em;'
            f'height:.7em;border-radius:2px;background:{COLOURS[state]};margin-right:.35em"></span>'
            f"{self.counts[state]:,}&nbsp;{state.value}</span>"
            for state in ORDER
            if self.counts[state]
        )
        below = "".join(
            f'<div style="margin-top:.3em;color:{colour}">{escape(text)}</div>' for text, colour in self.notes
        )
        right = [text for text in (self.what, self.through, self.age, self.left) if text]
        return (
            '<div class="htcmagic-map" style="font-family:var(--jp-ui-font-family,sans-serif);font-size:13px;'
            'max-width:52em;padding:.35em 0"><div style="display:flex;justify-content:space-between;'
            f'margin-bottom:.3em"><b>{escape(self.title)}</b><span style="opacity:.7">{escape(" · ".join(right))}'
            '</span></div><div style="display:flex;height:.8em;border-radius:4px;overflow:hidden;background:#8883">'
            f'{segments}</div><div style="margin-top:.35em">{legend}</div>{below}</div>'
        )


def brief(error: BaseException | None) -> str:
    """Return an exception in a line."""
    if error is None:
        return ""
    first = (str(error).splitlines() or [""])[0]
    return clean(f"{type(error).__name__}: {first}" if first else type(error).__name__, LONGEST_REASON)


class Views:
    """The places on the screen where one map is shown.

    Parameters
    ----------
    run : Run
        The map.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._handles: list[Any] = []
        self._shown = ""
        self._next = 0.0
        self.was_shown = False
        self._shown_in: int | None = None

    @property
    def open(self) -> bool:
        """Whether there is a view that has to move."""
        return bool(self._handles)

    def show(self) -> None:
        """Show it here, too; in a notebook the view stays live."""
        from IPython import get_ipython  # noqa: PLC0415 - only where there is a front end
        from IPython.display import display  # noqa: PLC0415

        self.was_shown = True
        data = self.data()
        if getattr(get_ipython(), "kernel", None) is None:
            display(data, raw=True)
            return
        handle = display(data, raw=True, display_id=True)
        if handle is not None and not self._run.done:
            self._handles.append(handle)

    def show_once(self) -> None:
        """Show it in a notebook, if it has never been."""
        if self.was_shown:
            return
        self.was_shown = True
        from IPython import get_ipython  # noqa: PLC0415

        if getattr(get_ipython(), "kernel", None) is not None:
            self.show()
            self._shown_in = get_ipython().execution_count

    @property
    def is_shown_here(self) -> bool:
        """Whether waiting in this very cell has shown it already."""
        from IPython import get_ipython  # noqa: PLC0415

        return self._shown_in is not None and self._shown_in == get_ipython().execution_count

    def update(self) -> None:
        """Bring all views up to date if what they show has changed."""
        now, done = time.monotonic(), self._run.done
        if not self._handles or (now < self._next and not done):
            return
        data = self.data()
        if data["text/html"] != self._shown:
            self._shown = data["text/html"]
            for handle in self._handles:
                handle.update(data, raw=True)
        age_s = time.time() - float(self._run.told["created"])
        self._next = now + (SHORTEST_S if age_s < 60 else min(5.0, age_s / 120))
        if done:
            self._handles.clear()

    def data(self) -> dict[str, str]:
        """Return what is shown."""
        look = Look(self._run)
        return {"text/html": look.html(), "text/plain": look.line()}
