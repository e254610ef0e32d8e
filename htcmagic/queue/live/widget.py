"""A live table drawn, sorted, filtered and opened in the browser; the kernel only tells what is new.

It is a widget without a view: its program looks for the place in the page where the output's HTML stands, and takes it.
So the output is plain HTML, which a notebook keeps and every reader shows, with or without widgets. Needs anywidget,
here and beside JupyterLab. Nothing is built and nothing comes from the network.
"""

from __future__ import annotations

import contextlib
import importlib.util
import threading
import uuid
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from htcmagic.pool.address import Pool
from htcmagic.pool.client import Client
from htcmagic.queue.live import clicks
from htcmagic.queue.live.deltas import Deltas, heading
from htcmagic.queue.live.model import LiveTable

PIECES = ("watch_jobs.js", "watch_line.js", "watch.js")


def available() -> bool:
    """Whether this kernel can have widgets."""
    return importlib.util.find_spec("anywidget") is not None


@cache
def script() -> str:
    """Return the view's program for the browser: one module."""
    return "\n".join((Path(__file__).parent / piece).read_text("utf-8") for piece in PIECES)


@cache
def _widget_class() -> Any:
    """Make the class when it is first wanted: ipywidgets takes a fifth of a second to import."""
    import anywidget  # noqa: PLC0415
    import traitlets  # noqa: PLC0415

    css = (Path(__file__).parent / "watch.css").read_text("utf-8")
    traits = {name: kind().tag(sync=True) for name, kind in (("token", traitlets.Unicode), ("start", traitlets.Dict))}
    return type("Watch", (anywidget.AnyWidget,), {"_esm": script(), "_css": css, **traits})


class Widget:
    """One live view's widget.

    Parameters
    ----------
    table : LiveTable
        What is known now.
    now : callable
        Returns the table at present.
    said : callable
        Gets ``hello``, ``stop`` or ``gone`` (the output was cleared) when the browser says so.
    """

    def __init__(self, table: LiveTable, now: Callable[[], LiveTable], said: Callable[[str], None]) -> None:
        self._now = now
        self._said = said
        self._lock = threading.Lock()
        self._deltas = Deltas()
        self._clients: dict[Pool, Client] = {}
        self.heard = False
        """Whether a browser has shown it."""
        self.token = uuid.uuid4().hex
        self._widget = _widget_class()(token=self.token, start=Deltas().message(table))
        self._widget.on_msg(self._message)
        self._answer_anywhere()

    @property
    def place(self) -> str:
        """The class of the element that it takes."""
        return f"htcmagic-{self.token}"

    @property
    def late(self) -> bool:
        """Whether something is still to be told though nothing changes."""
        return self._deltas.late

    def update(self, table: LiveTable, *, ended: str = "") -> None:
        """Tell what is new; all of it as long as no browser has said that it listens."""
        with self._lock:
            if not self.heard:
                self._deltas.forget()
            self._send(self._deltas.message(table, ended))

    def beat(self, table: LiveTable) -> None:
        """Tell that nothing is new."""
        self._send(heading(table))

    def close(self) -> None:
        """Take it away."""
        for client in self._clients.values():
            client.close()
        with contextlib.suppress(Exception):  # the kernel may be gone already
            self._widget.close()

    def _send(self, said: dict[str, Any]) -> None:
        self._widget.send({**said, "heard": self.heard})
        self._answer_anywhere()

    def _answer_anywhere(self) -> None:
        """Let a click be heard while a cell runs, where JupyterLab has a subshell for widgets.

        ipykernel hands the browser's messages to the shell that last sent one; for ours, which are sent by a thread, it
        takes the main one, and that is busy with the cell.
        """
        with contextlib.suppress(AttributeError):
            del self._widget.comm._reply_subshell_id  # noqa: SLF001

    def _message(self, _widget: Any, content: Any, _buffers: Any) -> None:
        kind = content.get("kind") if isinstance(content, dict) else None
        if kind == "hello":
            with self._lock:
                self.heard = True
                self._deltas.forget()
                self._send(self._deltas.message(self._now()))
        if kind == "click":
            self._send({"kind": "ack", "id": content.get("id")})
            threading.Thread(target=self._click, args=(content,), name="htcmagic-click", daemon=True).start()
        elif kind in {"hello", "stop", "gone"}:
            self._said(kind)

    def _click(self, content: dict[str, Any]) -> None:
        """Do it in a thread: a schedd that does not answer must not stop the kernel."""
        try:
            said = clicks.outcome(content, self._now().batches, self._client)
        except Exception as error:  # noqa: BLE001 - whoever clicked has to be told
            said = {"ok": False, "says": f"That failed: {error}"}
        self._send({"kind": "outcome", "id": content.get("id"), **said})

    def _client(self, pool: Pool) -> Client:
        """Return a client of the view's own: a slow answer must not make the user's cells wait."""
        return self._clients.setdefault(pool, Client(pool))
