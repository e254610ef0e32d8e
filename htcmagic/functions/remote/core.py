"""One task: a function or a cell, its arguments, and what became of it."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import pickle
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from htcmagic.functions import job
from htcmagic.functions.remote import failure, records
from htcmagic.functions.remote.records import Header, Part

_numbers = itertools.count()
PYTHON = ".".join(map(str, sys.version_info[:3]))
SAID = 64 << 10
"""Most bytes of a task's printed text that come home with its result, from its beginning and from its end."""


class Context:
    """Where tasks run.

    Attributes
    ----------
    scratch : Path
        The job's own folder.
    job : str
        ``cluster.proc``; empty outside of a job.
    report : callable or None
        Takes (done, total) of a task that tells its progress.
    functions : dict
        What was unpickled, by name.
    task : object
        The id of the one that runs now.
    """

    def __init__(self, scratch: Path, job: str = "") -> None:
        self.scratch = scratch
        self.job = job
        self.report: Callable[[float, float], None] | None = None
        self.functions: dict[str, Any] = {}
        self.task: object = None


def execute(context: Context, task: Header, body: bytes, function: Callable[[], bytes]) -> tuple[Header, list[Part]]:
    """Run one task.

    Parameters
    ----------
    context : Context
        Where.
    task : dict
        Its header: ``id``, ``function``.
    body : bytes
        Its pickled arguments.
    function : callable
        Reads the function's record, when it is first needed.

    Returns
    -------
    tuple of dict and list
        Header and parts of its result.
    """
    folder = context.scratch / f"task-{os.getpid()}-{next(_numbers)}"  # made when it is asked for
    context.task = task["id"]
    job.begin(folder, context.report)
    said = Said()
    header: Header = {"id": task["id"], "ok": True, "python": PYTHON, "job": context.job}
    header |= {"host": os.uname().nodename, "started": time.time()}
    parts: list[Part] = []
    begun = time.perf_counter()
    try:
        with said.listening():
            parts = _call(context, task, body, function)
    except BaseException as error:  # noqa: BLE001 - sys.exit and KeyboardInterrupt are answers, too
        header["ok"] = False
        header["error"] = failure.describe(error)
        parts = _exception(error)
    header["seconds"] = time.perf_counter() - begun
    header["rss_kib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if text := said.text():
        parts.append(("stdout", text))
    if folder.exists():
        parts += [(f"file:{file.relative_to(folder)}", file) for file in sorted(folder.rglob("*")) if file.is_file()]
        header["folder"] = str(folder)
    return header, parts


def _call(context: Context, task: Header, body: bytes, function: Callable[[], bytes]) -> list[Part]:
    name = task["function"]
    if name not in context.functions:
        context.functions[name] = load(function())
    what = context.functions[name]
    parts: list[Part]
    if is_cell(what):
        parts = what.run(pickle.loads(body) if body else {})
        return parts
    arguments, keywords = pickle.loads(body)
    value = what(*arguments, **keywords)
    parts = []
    if isinstance(value, job.File):
        parts.append((f"file:{value.path.name}", value.path.resolve(strict=True)))
        value = job.File(value.path.name)
    return [("value", dumped(value)), *parts]


def load(data: bytes) -> Any:
    """Return the function or the cell of a record."""
    ((header, body),) = records.split(data)
    for folder in header.get("path", ()):
        if folder not in sys.path and Path(folder).is_dir():
            sys.path.append(folder)
    if header["kind"] == "cell":
        from htcmagic.functions.remote import cell  # noqa: PLC0415 - 3 ms that functions need not wait for

        return cell.Cell.read(header, body)
    return pickle.loads(body)


def is_cell(what: Any) -> bool:
    """Whether what :func:`load` has returned is a cell, and no function."""
    module = sys.modules.get("htcmagic.functions.remote.cell")
    return module is not None and isinstance(what, module.Cell)


def dumped(value: Any) -> bytes:
    """Pickle a result; by value what is not defined in a module."""
    try:
        return pickle.dumps(value, protocol=5)
    except (pickle.PicklingError, AttributeError, TypeError):
        import cloudpickle  # noqa: PLC0415 - 30 ms that numbers and texts need not wait for

        data: bytes = cloudpickle.dumps(value, protocol=5)
        return data


def _exception(error: BaseException) -> list[Part]:
    try:
        return [("exception", dumped(error))]
    except Exception:  # noqa: BLE001 - it is described in the header
        return []


class Said:
    """What a task prints: passed on at once, its beginning and its end kept."""

    def __init__(self) -> None:
        self._first = io.StringIO()
        self._last = ""
        self._left_out = 0

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Keep what Python code prints meanwhile, standard error included."""
        before = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = _Tee(before[0], self), _Tee(before[1], self)
        try:
            yield
        finally:
            for stream in before:
                with contextlib.suppress(OSError, ValueError):
                    stream.flush()
            sys.stdout, sys.stderr = before

    def take(self, text: str) -> None:
        """Keep some text."""
        room = SAID // 2 - self._first.tell()
        if room > 0:
            self._first.write(text[:room])
            text = text[room:]
        if text:
            self._last += text
            if len(self._last) > SAID:
                self._left_out += len(self._last) - SAID // 2
                self._last = self._last[-SAID // 2 :]

    def text(self) -> bytes:
        """Return what was kept."""
        gap = f"\n… {self._left_out:,} characters are left out here; the job's standard output has them …\n"
        whole = self._first.getvalue() + (gap if self._left_out else "") + self._last
        return whole.encode("utf-8", "backslashreplace")


class _Tee(io.TextIOBase):
    def __init__(self, stream: Any, said: Said) -> None:
        self._stream = stream
        self._said = said

    def write(self, text: str) -> int:
        self._said.take(text)
        self._stream.write(text)
        if "\n" in text:
            self._stream.flush()
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

    def fileno(self) -> int:
        return int(self._stream.fileno())

    def isatty(self) -> bool:
        return False

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return str(self._stream.encoding)


def _made() -> str:
    import tempfile  # noqa: PLC0415 - 8 ms that no job waits for

    return tempfile.mkdtemp(prefix="htcmagic-")


def here(scratch: Path | None = None) -> Context:
    """Return the context of this job, with its progress reported through HTCondor's own channel."""
    folder = scratch or Path(os.environ.get("_CONDOR_SCRATCH_DIR") or _made())
    ids = [os.environ.get(f"JOB_{part}", "") for part in ("CLUSTER", "PROC")]
    context = Context(folder, ".".join(ids) if all(ids) else "")
    context.report = Progress(context).tell
    return context


class Progress:
    """Writes progress into the event log, at most once a second.

    Parameters
    ----------
    context : Context
        Where the task runs of which it tells.
    """

    EVERY_S = 1.0

    def __init__(self, context: Context) -> None:
        self._context = context
        self._next = 0.0
        self._chirp: Any = None

    def tell(self, done: float, total: float) -> None:
        """Report; where there is no channel, say nothing."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + self.EVERY_S
        try:
            told = json.dumps({"progress": [float(done), float(total)], "task": self._context.task})
            if self._chirp is None:
                import htchirp  # noqa: PLC0415 - comes along with the job

                self._chirp = htchirp.HTChirp()
                self._chirp.connect()
            self._chirp.ulog(f"htcmagic {told}")
        except Exception:  # noqa: BLE001 - progress is never worth a job
            self._next = float("inf")
