"""One job of a cell: a future of what the cell has left there."""

from __future__ import annotations

import contextlib
import re
import signal
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future, InvalidStateError
from typing import TYPE_CHECKING, Any, Literal, overload

from htcmagic.errors import HTCMagicError, JobFailed, PythonMismatch, ResultMissing, TimedOut, WorkerLost
from htcmagic.functions import jobs, results, tracebacks
from htcmagic.functions.celloutputs import Outputs
from htcmagic.functions.ends import Cancelled
from htcmagic.functions.results import Outcome
from htcmagic.functions.waiting import waiting
from htcmagic.jobs import display
from htcmagic.jobs.cluster import NOT_SET_UP, JobFuture
from htcmagic.jobs.model import Hold, JobId, JobState, removed
from htcmagic.jobs.outputs import MOST_BYTES

if TYPE_CHECKING:
    from htcmagic.functions.cellrun import CellRun

LOOK_S = 0.1
SOON_S = ((5.0, 0.004), (60.0, 0.02), (float("inf"), 0.1))
"""How often a result is looked for while somebody waits for it, up to which age of its job."""
TAIL = 12
"""Lines of standard error that are looked at for a message."""
LONGEST_TAIL = 300
NOISE = re.compile(r"htcmagic/functions/remote|<frozen |\.pyz/__main__|^Extension modules|^Current thread")
"""Lines of a crashed Python's last words that are ours, not the user's."""
PLACES = "Say where it comes from: --python PATH, --container IMAGE, --stack NAME, or --ship-env"


class Failed(Exception):  # noqa: N818
    """Stands in a future for an exception that is made when somebody asks for it."""


class CellFuture(Future[Any]):
    """One job of a cell; a real ``concurrent.futures.Future``.

    ``result()`` is the value of the cell's last line: of an expression, or what is assigned there; where it is
    neither, the variables that came back. It raises what the cell raised, with the traceback of the job.
    ``future["fit"]`` and ``future.outputs.fit`` are the variable ``fit``.
    """

    def __init__(self, run: CellRun, number: int) -> None:
        super().__init__()
        self._run = run
        self.index = number
        self.id = JobId(run.cluster.id, number)
        self._cancelling = False
        self._why: BaseException | None = None

    @property
    def job(self) -> JobFuture:
        """The job itself, as HTCondor sees it."""
        return self._run.cluster[self.index]

    @property
    def state(self) -> JobState:
        """Idle, running, held, done, failed or removed."""
        state = self._run.cluster.tracker.state(self.index)
        if state.final or not self.done():
            return state
        return JobState.DONE if super().exception(0) is None else JobState.FAILED

    @property
    def hold(self) -> Hold | None:
        """Why the job is held; None if it is not."""
        return self._run.cluster.tracker.hold(self.index)

    @property
    def item(self) -> Any:
        """The variables of the item that it was made from."""
        return self._run.item(self.index)

    def running(self) -> bool:
        """Whether the job runs now."""
        return self.state is JobState.RUNNING and not self.done()

    def cancel(self) -> bool:
        """Remove the job; ``False`` when it has ended already."""
        if self.done():
            return False
        self._cancelling = True
        self._cancelling = self.job.cancel()
        return self._cancelling

    # what has come back

    def result(self, timeout: float | None = None) -> Any:
        """Return the value of the cell's last line, waiting for it if need be.

        Parameters
        ----------
        timeout : float, optional
            Seconds; for ever if not given.

        Raises
        ------
        Exception
            What the cell raised, with the traceback of the job.
        JobRemoved, ResultMissing, PythonMismatch, JobFailed
            There is no result.
        TimedOut
            It has not ended; the message says its state, and why it is held if it is.
        CancelledError
            It was cancelled through this future.
        """
        error = self.exception(timeout)
        if error is not None:
            raise error
        return self._value()

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return what :meth:`result` would raise; None if the cell ran to its end."""
        try:
            with waiting(f"%condor_rm {self.id}", self.cancel):
                failed = self._awaited(timeout)
        except CancelledError:
            raise Cancelled(f"Job {self.id} was cancelled.", hint="Run it again: .rerun()") from None
        except TimeoutError:
            why = f": {display.clean(self.hold.reason, display.LONGEST_REASON)}" if self.hold else ""
            hint = "Mend the cause, then %condor_release" if self.hold else "It goes on. To remove it: %condor_rm"
            raise TimedOut(f"Job {self.id} is {self.state.value}{why}.", hint=f"{hint} {self.id}") from None
        if failed is None:
            return None
        return self._why if self._why is not None else self._raised()

    def error(self) -> BaseException | None:
        """Return what :meth:`result` would raise now; None if it would not."""
        try:
            return self.exception(0)
        except Cancelled as error:
            return error

    def _awaited(self, timeout: float | None) -> BaseException | None:
        """Wait as a future does, with an eye on the results: they are there before the event log says so."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            look_s = self._run.look_s
            left_s = look_s if deadline is None else min(look_s, deadline - time.monotonic())
            try:
                return super().exception(max(0.0, left_s))
            except TimeoutError:
                if left_s < look_s:
                    raise
            self._run.look()

    def outcome(self) -> Outcome:
        """Return what is known of the job's run, waiting for its end if need be; raises where nothing came back."""
        self.exception()
        if self._why is not None:
            raise self._why
        return self._outcome()

    @property
    def outputs(self) -> Outputs:
        """The variables that came back, by name; raises what the cell raised."""
        error = self.exception()
        if error is not None:
            raise error
        return Outputs(self)

    def __getitem__(self, name: str) -> Any:
        return self.outputs[name]

    def explain(self) -> None:
        """Print the traceback of the job with the local variables of its innermost frames."""
        error = self.exception()
        remote = getattr(error, "remote", None)
        if remote is not None:
            print(remote.text(variables=True))  # noqa: T201 - for people
        else:
            print(error if error is not None else f"Job {self.id} ended well.")  # noqa: T201

    def show(self, *, printed: bool = True) -> None:
        """Show what the cell has printed and displayed there, as if it had run here."""
        text = self.outcome().stdout
        if text and printed:
            print(text, end="" if text.endswith("\n") else "\n")  # noqa: T201
        from IPython.display import display as shown  # noqa: PLC0415 - only where somebody looks

        for bundle in self.outcome().displays:
            shown(bundle, raw=True)

    @overload
    def stdout(self, *, follow: Literal[False] = False) -> str: ...
    @overload
    def stdout(self, *, follow: Literal[True]) -> Iterator[str]: ...
    def stdout(self, *, follow: bool = False) -> str | Iterator[str]:
        """Return what the job has printed so far.

        Parameters
        ----------
        follow : bool
            Return an iterator that yields new text as it comes, until the job ends. What a job far away prints comes
            while it runs if it was sent with --follow, else at its end.
        """
        return self._follow() if follow else self._run.cluster.stdout(self.index)

    def stderr(self) -> str:
        """Return what the job has written to its standard error so far."""
        return self._run.cluster.stderr(self.index)

    def _follow(self) -> Iterator[str]:
        offset = 0
        while True:
            ended = self.done()
            text, offset = self.beyond(offset)
            if text:
                yield text
            elif ended:
                return
            else:
                with contextlib.suppress(TimeoutError):
                    self._awaited(LOOK_S)

    def beyond(self, offset: int) -> tuple[str, int]:
        """Return what the job has printed from a place on, and the place where that ends."""
        path = self._run.path(self.index, "output")
        if path is None:
            return "", offset
        try:
            with path.open("rb") as stream:
                stream.seek(offset)
                body = stream.read(MOST_BYTES)
        except OSError:
            return "", offset
        whole = body if self.done() else body[: body.rfind(b"\n") + 1]
        return whole.decode("utf-8", "replace"), offset + len(whole)

    def _outcome(self) -> Outcome:
        folders = jobs.Folders(self._run.run_dir.path)
        path = self._run.path(self.index, "error")
        try:
            record = next(results.read(folders.results / str(self.index)), None)
        except OSError as error:
            said = f"The result of job {self.id} cannot be read: {error.strerror}."
            raise ResultMissing(said, job=str(self.id), hint="Run it again: .rerun(failed=False)") from None
        if record is None:
            raise ResultMissing(f"The result of job {self.id} is not whole.", job=str(self.id))
        return Outcome(record, folders.files(self.index), str(path or ""))

    def _value(self) -> Any:
        outcome = self._outcome()
        if self._run.expression:
            return outcome.value() if outcome.record.names("value") else None
        names = outcome.record.names("out:")
        if self._run.value in names:
            return outcome.output(self._run.value)
        return Outputs(self) if names else None

    def _raised(self) -> BaseException:
        """Return what the cell raised."""
        try:
            return self._outcome().exception()
        except HTCMagicError as why:
            return why

    # what the run calls, in the follower's thread

    def settle(self, *, early: bool = False) -> None:
        """Take over how the job has ended, if it has.

        Parameters
        ----------
        early : bool
            Its result is there, though its end is not yet known.
        """
        if early:
            with contextlib.suppress(InvalidStateError, OSError, ValueError, KeyError, HTCMagicError):
                self.set_result(None) if self._outcome().ok else self.set_exception(Failed())
            return
        tracker = self._run.cluster.tracker
        state = tracker.state(self.index)
        if self.done() or not state.final:
            return
        with contextlib.suppress(InvalidStateError):
            if state is JobState.REMOVED:
                if self._cancelling:
                    super().cancel()
                    self.set_running_or_notify_cancel()
                    return
                self._fail(removed(self.id, tracker.reasons.get(self.index, "")))
                return
            try:
                ok = self._outcome().ok
            except ResultMissing as error:
                self._fail(error if "belongs" in error.message else self._missing())
            except (OSError, ValueError, KeyError):
                self._fail(self._missing())
            else:
                self.set_result(None) if ok else self.set_exception(Failed())

    def _fail(self, error: BaseException) -> None:
        self._why = error
        self.set_exception(Failed())

    def summary(self) -> str:
        """Return in one line why it failed; empty if it did not."""
        if not self.done() or self.cancelled() or super().exception(0) is None:
            return ""
        if self._why is not None:
            return display.clean(getattr(self._why, "message", str(self._why)), 200)
        try:
            header = self._outcome().record.header
        except HTCMagicError as error:
            return display.clean(error.message, 200)
        return display.clean(tracebacks.Remote(header["error"], header).summary, 200)

    def _missing(self) -> HTCMagicError:
        """Return why a job that has ended left no result."""
        exited = self._run.cluster.tracker.exits.get(self.index)
        job = str(self.id)
        lines = self.stderr_tail()
        ours = [line.removeprefix("htcmagic: ") for line in lines if line.startswith("htcmagic: ")]
        if exited is not None and exited.code == NOT_SET_UP and ours:
            said = ours[-1]
            if said.startswith("PythonMismatch: "):
                return PythonMismatch(f"Job {job}: {said[16:]}.", job=job, hint=PLACES)
            if re.match(r"there is no \S*python", said):
                return PythonMismatch(f"Job {job}: {said}.", job=job, hint=PLACES)
            return JobFailed(f"Job {job} did not start: {said}", job=job, hint="What else was said: .stderr()")
        how = "ended"
        if exited is not None and exited.signal is not None:
            how = f"was ended by signal {exited.signal}{_named(exited.signal)}"
        elif exited is not None and exited.code is not None:
            number = exited.code - 128
            how = f"ended with exit code {exited.code}{_named(number) if 0 < number < 65 else ''}"
        tail = " | ".join(line for line in lines if not NOISE.search(line))[-LONGEST_TAIL:]
        hint = f"Its standard error ends: {tail}" if tail else "It wrote nothing to its standard error."
        unwritten = how.endswith(" 1") and any(NOISE.search(line) for line in lines)  # what ran the cell has given up
        kind = ResultMissing if how == "ended" or unwritten else WorkerLost
        return kind(f"Job {job} {how}, in the midst of its cell: there is no result.", job=job, hint=hint)

    def stderr_tail(self) -> list[str]:
        """Return the last lines of the job's standard error, from a file that is here."""
        path = self._run.path(self.index, "error")
        try:
            with path.open("rb") if path is not None else contextlib.nullcontext() as stream:
                if stream is None:
                    return []
                stream.seek(max(0, stream.seek(0, 2) - 10_000))
                text = stream.read().decode("utf-8", "replace")
        except OSError:
            return []
        return [display.clean(line.strip(), 300) for line in text.splitlines() if line.strip()][-TAIL:]

    def __repr__(self) -> str:
        why = self.summary()
        return f"<CellFuture {self.id} {self.state.value}{f': {why}' if why else ''}>"


def _named(number: int) -> str:
    with contextlib.suppress(ValueError):
        return f" ({signal.Signals(number).name})"
    return ""
