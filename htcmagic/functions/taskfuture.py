"""The future of one call that a warm worker runs."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError, Future
from typing import Any, Protocol

from htcmagic.errors import TimedOut
from htcmagic.functions.ends import Cancelled
from htcmagic.functions.results import Outcome
from htcmagic.functions.waiting import waiting

EAGER = 256 << 10
"""Values up to this size are unpickled when they arrive, larger ones when they are asked for."""

_loading = threading.Lock()
"""One for all futures: large values are read one after the other."""


class Owner(Protocol):
    """What a future wants of its executor."""

    @property
    def remove(self) -> str: ...  # noqa: D102
    def cancel(self, futures: list[TaskFuture]) -> set[int]: ...  # noqa: D102
    def begun(self, future: TaskFuture) -> bool: ...  # noqa: D102
    def taken(self, future: TaskFuture) -> None: ...  # noqa: D102
    def end(self) -> None: ...  # noqa: D102
    def state(self) -> str: ...  # noqa: D102


class TaskFuture(Future[Any]):
    """One call; a real ``concurrent.futures.Future`` of what it returns.

    ``result()`` raises what the call raised, with its class and its remote traceback. ``cancel()`` works as long as no
    worker has taken the call.

    Attributes
    ----------
    id : int
        Its number in its executor.
    label : str
        The call, for people.
    """

    def __init__(self, owner: Owner, number: int, label: str) -> None:
        super().__init__()
        self.id = number
        self.label = label
        self._owner = owner
        self._outcome: Outcome | None = None
        self._lazy = False

    @property
    def job(self) -> str:
        """The job that ran it, ``cluster.proc``; empty before it has run."""
        return str(self._outcome.record.header["job"]) if self._outcome is not None else ""

    @property
    def outcome(self) -> Outcome | None:
        """Everything that came back: time, memory, output files; None before it has run."""
        return self._outcome

    def stdout(self) -> str:
        """Return what it printed; empty before it has run."""
        return self._outcome.stdout if self._outcome is not None else ""

    def running(self) -> bool:
        """Whether a worker has taken it."""
        return not self.done() and self._owner.begun(self)

    def cancel(self) -> bool:
        """Take it back; ``False`` when a worker has taken it already."""
        if self.done():
            return self.cancelled()
        return self.id in self._owner.cancel([self]) or self.cancelled()

    def result(self, timeout: float | None = None) -> Any:
        """Return what the call returned, waiting for that if need be.

        Parameters
        ----------
        timeout : float, optional
            Seconds; for ever if not given.

        Raises
        ------
        Exception
            What the call raised.
        TimedOut
            It has not ended; the message says what the workers do, and why not if they do not.
        WorkerLost
            The process that ran it died, or workers vanished with it too often.
        CancelledError
            It was cancelled.
        """
        self._wait(timeout)
        return super().result(0)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return what the call raised; None if it returned. As for :meth:`result`."""
        self._wait(timeout)
        return super().exception(0)

    def _wait(self, timeout: float | None) -> None:
        if not self.done():
            self._wait_long(timeout)
        if self._lazy:
            self._load()
        if self.cancelled():
            raise Cancelled(f"{self.label} was cancelled.")
        self._owner.taken(self)

    def _wait_long(self, timeout: float | None) -> None:
        try:
            with waiting(lambda: self._owner.remove, self._owner.end):
                super().exception(timeout)
        except CancelledError:
            return
        except TimeoutError as error:
            if isinstance(error, TimedOut) or self.done():
                raise
            raise TimedOut(
                f"After {timeout:g} s, {self.label} is not done. {self._owner.state()}",
                hint=f"It goes on; wait again, or end it: {self._owner.remove}",
            ) from None

    def settle(self, outcome: Outcome) -> None:
        """Take over what came back."""
        self._outcome = outcome
        if not outcome.ok:
            self.set_exception(outcome.exception())
            return
        if sum(size for _, size in outcome.record.header["parts"]) > EAGER:
            self._lazy = True
            self.set_result(None)
            return
        try:
            value = outcome.value()
        except Exception as error:  # noqa: BLE001 - its class may do anything
            self.set_exception(error)
        else:
            self.set_result(value)

    def _load(self) -> None:
        """Read a large value."""
        with _loading:
            if not self._lazy:
                return
            assert self._outcome is not None  # noqa: S101 - settle() has set it
            try:
                self._result = self._outcome.value()
            except Exception as error:  # noqa: BLE001 - its class may do anything
                self._exception = error
            self._lazy = False

    def __repr__(self) -> str:
        return f"<TaskFuture {self.label} {self._said}>"

    @property
    def _said(self) -> str:
        if self.cancelled():
            return "cancelled"
        if self.done():
            return "failed" if super().exception(0) is not None else "done"
        return "running" if self.running() else "waiting"
