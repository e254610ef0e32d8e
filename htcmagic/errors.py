"""The one hierarchy of errors that users meet.

HTCMagicError                 message + hint, shown as two lines and no traceback
├── CellError                 the description, an option or an item is wrong (line)
├── InstallError              HTCondor's programs cannot be had
├── PoolError                 a pool, or what it answered (transient)
│   ├── ScheddUnreachable     no answer: down, frozen, firewalled
│   ├── SubmitRefused         it answered, and said no
│   └── NotAuthorised         it does not know us, or knows us and refuses
├── JobError                  one job did not end well (job)
│   ├── JobFailed             exit code other than 0, or a signal
│   ├── JobRemoved            removed before it ended
│   ├── TaskFailed            a function or cell raised what cannot be made here
│   ├── ResultMissing         a task's result is lost, damaged, or cannot be unpickled here
│   ├── PythonMismatch        the worker's Python is not the notebook's
│   ├── WorkerLost            what ran the task died, or vanished too often
│   ├── DependencyFailed      not run, as a future among its arguments failed (chain, root)
│   └── NoSuchJob             also an IndexError
├── KernelError               a kernel cannot be made, found, started
│   ├── StackError            a software stack, its options, its repository
│   └── ContainerError        an image or the runtime
└── TimedOut                  also a TimeoutError
Interrupted                   a KeyboardInterrupt that says what became of the work
"""

from __future__ import annotations

from typing import Any


class HTCMagicError(Exception):
    """Something a user can mend.

    Parameters
    ----------
    message : str
        What is wrong, in one line.
    hint : str
        What to do next, in one line; empty when the message says it all.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        """Keep every field when an error crosses a process boundary."""
        return _rebuild, (type(self), self.args, dict(self.__dict__))

    def _render_traceback_(self) -> list[str]:
        """IPython shows these lines in place of a traceback."""
        return _rendered(self)


def _rendered(error: BaseException) -> list[str]:
    lines = str(error).splitlines() or [""]
    return [f"{type(error).__name__}: {lines[0]}", *lines[1:]]


def _rebuild(kind: type[HTCMagicError], args: tuple[Any, ...], fields: dict[str, Any]) -> HTCMagicError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(fields)
    return error


class CellError(HTCMagicError):
    """The description, an option or an item is wrong.

    Parameters
    ----------
    line : int or None
        Line of the cell's body that is meant, counted from 1.
    """

    def __init__(self, message: str, *, hint: str = "", line: int | None = None) -> None:
        super().__init__(f"line {line}: {message}" if line is not None else message, hint=hint)
        self.line = line


class InstallError(HTCMagicError):
    """HTCondor's programs cannot be had on this machine."""


class PoolError(HTCMagicError):
    """A pool, or what it answered.

    Parameters
    ----------
    transient : bool
        Whether the same call may work a little later.
    """

    def __init__(self, message: str, *, hint: str = "", transient: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.transient = transient


class ScheddUnreachable(PoolError):  # noqa: N818
    """The schedd or the collector does not answer."""


class SubmitRefused(PoolError):  # noqa: N818
    """The schedd answered, and said no."""


class NotAuthorised(PoolError):  # noqa: N818
    """The daemon does not know us, or knows us and refuses."""


class JobError(HTCMagicError):
    """One job did not end well.

    Parameters
    ----------
    job : str
        Its id, ``cluster.proc``.
    """

    def __init__(self, message: str, *, job: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.job = job


class JobFailed(JobError):  # noqa: N818
    """The job ended with an exit code other than 0, or by a signal."""


class JobRemoved(JobError):  # noqa: N818
    """The job was removed before it ended."""


class TaskFailed(JobError):  # noqa: N818
    """A function or cell raised an exception in its job that cannot be made here."""


class ResultMissing(JobError):  # noqa: N818
    """The result of a task is lost, damaged, or cannot be unpickled here."""


class WorkerLost(JobError):  # noqa: N818
    """The process that ran a task died, or workers vanished with it too often, or none can start."""


class PythonMismatch(JobError):  # noqa: N818
    """The worker's Python has another minor version than the notebook's, so values cannot travel."""


class DependencyFailed(JobError):  # noqa: N818
    """A task was not run, as a future among its arguments failed or was cancelled.

    Parameters
    ----------
    chain : tuple of str
        From the task's own input to the one that failed of itself.
    root : BaseException or None
        What that one raised; a ``CancelledError`` if it was cancelled.
    """

    def __init__(
        self, message: str, *, hint: str = "", chain: tuple[str, ...] = (), root: BaseException | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.chain = chain
        self.root = root

    def _render_traceback_(self) -> list[str]:
        """Show where the first of them failed, too."""
        where = getattr(self.root, "_render_traceback_", None)
        return [*_rendered(self), *(["", f"{self.chain[-1]}:", *where()] if where is not None and self.chain else [])]


class NoSuchJob(JobError, IndexError):  # noqa: N818
    """The cluster has no job of this number."""


class KernelError(HTCMagicError):
    """A kernel cannot be made, found, changed or started."""


class StackError(KernelError):
    """A software stack is unknown, not mounted, or its set-up does not give what it should."""


class ContainerError(KernelError):
    """An image or the container runtime cannot be used."""


class TimedOut(HTCMagicError, TimeoutError):  # noqa: N818
    """Something was not over when the time to wait for it was."""


class Interrupted(KeyboardInterrupt):
    """The user interrupted us; the text says what became of the work."""

    def _render_traceback_(self) -> list[str]:
        return _rendered(self)
