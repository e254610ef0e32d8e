"""Talking to one kernel as a notebook does, with an end to every wait."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import Empty
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient

TICK_S = 0.1
ASK_AGAIN_S = 5.0


class NoAnswer(Exception):  # noqa: N818
    """The kernel did not answer in time, or has ended; the text says which."""


@dataclass(slots=True)
class Answer:
    """What a cell gave.

    Attributes
    ----------
    text : str
        All it printed.
    error : tuple of (str, str, list of str), or None
        Name, value and traceback of the exception that ended it.
    seconds : float
        From sending the cell until the kernel was idle again.
    """

    text: str = ""
    error: tuple[str, str, list[str]] | None = None
    seconds: float = 0.0


@dataclass(slots=True)
class Talk:
    """One client of a kernel.

    Attributes
    ----------
    connection_file : str
        Of the kernel.
    alive : callable
        Whether the kernel's process runs.
    """

    connection_file: str
    alive: Callable[[], bool]
    client: BlockingKernelClient = field(init=False)

    def __post_init__(self) -> None:
        self.client = BlockingKernelClient(connection_file=self.connection_file)
        self.client.load_connection_file()
        self.client.start_channels(hb=False)  # its thread may start only after we have ended

    def close(self) -> None:
        """Let go of its sockets."""
        self.client.stop_channels()

    def ready(self, limit_s: float) -> dict[str, Any]:
        """Wait until the kernel answers on both channels; what it says about itself.

        Raises
        ------
        NoAnswer
            It did not, or has ended.
        """
        deadline = time.monotonic() + limit_s
        while True:
            self._go_on(deadline)
            asked = self.client.kernel_info()
            # A question may be lost while the kernel starts, and its output channel may not know us yet: ask again.
            with contextlib.suppress(NoAnswer):
                reply = self._reply(asked, min(deadline, time.monotonic() + ASK_AGAIN_S))
                self._idle(asked, min(deadline, time.monotonic() + 0.2), None)
                return dict(reply["content"])

    def run(self, code: str, limit_s: float, *, heard: Callable[[str], None] | None = None) -> Answer:
        """Run a cell.

        Parameters
        ----------
        code : str
            The cell; it does not go into the history.
        limit_s : float
            Longest time it may take.
        heard : callable, optional
            Called with all the text so far, whenever there is more.

        Raises
        ------
        NoAnswer
            It did not end in time, or the kernel has ended.
        """
        begun = time.monotonic()
        deadline = begun + limit_s
        asked = self.client.execute(code, store_history=False, allow_stdin=False)
        answer = self._idle(asked, deadline, heard)
        content = self._reply(asked, deadline)["content"]
        if answer.error is None and content.get("status") == "error":
            answer.error = (content.get("ename", "error"), content.get("evalue", ""), content.get("traceback", []))
        answer.seconds = time.monotonic() - begun
        return answer

    def complete(self, code: str, limit_s: float) -> list[str]:
        """Return what the kernel offers at the end of `code`."""
        asked = self.client.complete(code, len(code))
        return list(self._reply(asked, time.monotonic() + limit_s)["content"].get("matches", []))

    def _reply(self, asked: str, deadline: float) -> dict[str, Any]:
        while True:
            with contextlib.suppress(Empty):
                message = self.client.get_shell_msg(timeout=TICK_S)
                if message["parent_header"].get("msg_id") == asked:
                    return dict(message)
                continue
            self._go_on(deadline)

    def _idle(self, asked: str, deadline: float, heard: Callable[[str], None] | None) -> Answer:
        answer = Answer()
        while True:
            try:
                message = self.client.get_iopub_msg(timeout=TICK_S)
            except Empty:
                self._go_on(deadline)
                continue
            if message["parent_header"].get("msg_id") != asked:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "stream":
                answer.text += content["text"]
                if heard is not None:
                    heard(answer.text)
            elif kind == "error":
                answer.error = (content["ename"], content["evalue"], content["traceback"])
            elif kind == "status" and content["execution_state"] == "idle":
                return answer

    def _go_on(self, deadline: float) -> None:
        if not self.alive():
            raise NoAnswer("the kernel has ended")
        if time.monotonic() > deadline:
            raise NoAnswer("no answer")
