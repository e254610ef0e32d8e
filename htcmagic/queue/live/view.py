"""A live view in a notebook: shown once, kept up to date by a thread of its own, ended by many things."""

from __future__ import annotations

import atexit
import threading
import time
import weakref
from typing import Any

from htcmagic.queue.live import html, screen, widget
from htcmagic.queue.live.model import LiveTable, Want
from htcmagic.queue.live.source import LiveSource

SHORTEST_S = {"widget": 0.4, "html": 0.8}
"""Shortest time between two updates."""
LONGEST_S = {"widget": 5.0, "html": 10.0}
"""Longest one: that nothing has changed is news, too."""
KEPT_S = 60.0
"""How often the notebook's own copy is brought up to date while a widget stands in its place."""
FIRST_S = 1.0
"""Longest wait for an answer before the first table is shown."""
_views: weakref.WeakSet[LiveView] = weakref.WeakSet()
_hooked: list[Any] = []


class LiveView:
    """A live table under a cell: what ``%condor_watch`` returns.

    Parameters
    ----------
    want : Want
        What is watched.
    form : str
        ``widget``, ``html``; else the best that there is.
    """

    def __init__(self, want: Want, form: str = "") -> None:
        self._source = LiveSource(want)
        self._form = form
        self._changed = threading.Event()
        self._lock = threading.RLock()
        self._widget: widget.Widget | None = None
        self._handle: Any = None
        self._cell = ""
        self._shown_in: Any = None
        self._shown = -1
        self._kept = (-1, 0.0)
        self.ended = ""
        """Why it is no longer live; empty if it is."""

    @property
    def table(self) -> LiveTable:
        """What is known now."""
        return self._source.table()

    def show(self) -> None:
        """Begin to watch and show it under the cell that runs."""
        from IPython import get_ipython  # noqa: PLC0415 - only where there is a front end

        shell = get_ipython()
        self._cell, _ = parent_cell(shell)
        self._source.start(self._changed.set)
        table = self._first()
        if self._form == "widget" or (not self._form and self._cell and widget.available()):
            self._widget = widget.Widget(table, self._source.table, self._said)
        _views.add(self)
        _hook(shell)
        self._display(table, shell)
        threading.Thread(target=self._run, name="htcmagic-watch", daemon=True).start()

    def stop(self, why: str = "stopped") -> None:
        """End it; the jobs go on, and the last state stays.

        Parameters
        ----------
        why : str
            Shown above the table.
        """
        with self._lock:
            if self.ended:
                return
            self.ended = why
            self._source.close()
            self._changed.set()
            table = self._source.table()
            if self._widget is not None:  # it stays, to be looked into, until its output goes
                self._widget.update(table, ended=why)
            self._redisplay(table)

    def discard(self) -> None:
        """End it without a trace: there is no output any more."""
        with self._lock:
            self.ended = self.ended or "gone"
            self._handle = None
            self._source.close()
            self._changed.set()
            if self._widget is not None:
                self._widget.close()
            _views.discard(self)

    def overtaken(self, cell: str, deleted: frozenset[str]) -> None:
        """End it if its cell runs anew or was deleted."""
        if self._cell and (self._cell == cell or self._cell in deleted):
            self.discard()

    def _first(self) -> LiveTable:
        deadline = time.monotonic() + FIRST_S
        while not self._source.table().seen and time.monotonic() < deadline:
            time.sleep(0.02)
        return self._source.table()

    def _run(self) -> None:
        told = time.monotonic()
        while not self._over():
            heard = self._widget is not None and self._widget.heard
            form = "widget" if heard else "html"
            late = self._widget is not None and self._widget.late
            self._changed.wait(1.0 if late else LONGEST_S[form])
            self._changed.clear()
            with self._lock:
                if self._over():
                    return
                table = self._source.table()
                changed = late or table.version != self._shown
                if changed or time.monotonic() - told >= 0.9 * LONGEST_S[form]:
                    self._update(table, changed=changed)
                    told = time.monotonic()
            if table.finished:
                self.stop("all ended")
            time.sleep(SHORTEST_S[form])

    def _over(self) -> bool:
        return bool(self.ended)

    def _update(self, table: LiveTable, *, changed: bool) -> None:
        self._shown = table.version
        if self._widget is not None:
            if changed or not self._widget.heard:
                self._widget.update(table)
            else:
                self._widget.beat(table)
        version, when = self._kept
        taken = self._widget is not None and self._widget.heard
        if not taken or (table.version != version and time.monotonic() - when > KEPT_S):
            self._redisplay(table)

    def _display(self, table: LiveTable, shell: Any) -> None:
        from IPython.display import display  # noqa: PLC0415

        self._shown_in = getattr(shell, "execution_count", None)
        known = True if self._handle is None else self._handle.display_id
        self._handle = display(self._data(table), raw=True, display_id=known)

    def _redisplay(self, table: LiveTable) -> None:
        self._kept = (table.version, time.monotonic())
        if self._handle is not None:
            self._handle.update(self._data(table), raw=True)

    def _data(self, table: LiveTable) -> dict[str, Any]:
        """Return the forms of the output."""
        place = "" if self._widget is None else self._widget.place
        return {
            "text/html": html.render(table, ended=self.ended, jobs=bool(self.ended), place=place),
            "text/plain": "\n".join(screen.lines(table, ended=self.ended)),
        }

    def _said(self, what: str) -> None:
        if what == "stop":
            self.stop()
        elif what == "gone":
            self.discard()

    def __repr__(self) -> str:
        return f"<LiveView {html.line(self.table, ended=self.ended or 'live')}>"

    def _ipython_display_(self) -> None:
        """Show it again, unless this very cell shows it already."""
        from IPython import get_ipython  # noqa: PLC0415

        shell = get_ipython()
        if self._shown_in != getattr(shell, "execution_count", None):
            self._display(self.table, shell)


def parent_cell(shell: Any) -> tuple[str, frozenset[str]]:
    """Return the id of the cell that runs, and of those that were deleted; empty where the front end does not tell."""
    kernel = getattr(shell, "kernel", None)
    parent = kernel.get_parent("shell") if kernel is not None else {}
    metadata = (parent or {}).get("metadata") or {}
    deleted = metadata.get("deletedCells")
    return str(metadata.get("cellId") or ""), frozenset(map(str, deleted if isinstance(deleted, list) else ()))


def _hook(shell: Any) -> None:
    """See when cells run again, and when the kernel ends."""
    if shell not in _hooked:
        _hooked.append(shell)
        shell.events.register("pre_run_cell", _cell_begins)
        atexit.register(_end_all)


def _cell_begins(_info: Any = None) -> None:
    from IPython import get_ipython  # noqa: PLC0415

    cell, deleted = parent_cell(get_ipython())
    for view in list(_views):
        view.overtaken(cell, deleted)


def _end_all() -> None:
    for view in list(_views):
        view.stop("kernel ended")
