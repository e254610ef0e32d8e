"""What came back of a task: read when it is asked for, raised as it was raised there."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from htcmagic.errors import ResultMissing, TaskFailed, WorkerLost
from htcmagic.functions import job, payload, tracebacks
from htcmagic.functions.remote import records
from htcmagic.functions.remote.records import Record

DIED = "WorkerDied"
"""What a worker says of a task whose process died."""


def read(path: Path) -> Iterator[Record]:
    """Yield the results of a file.

    Raises
    ------
    ResultMissing
        It is not ours: what others have written is not unpickled.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        info = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if not stat.S_ISREG(info.st_mode) or info.st_uid != os.geteuid():
        raise ResultMissing(
            f"The result file {path} belongs to another user (uid {info.st_uid}), so it is not read.",
            hint="Run the task again: .rerun()",
        )
    yield from records.scan(path)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one task.

    Attributes
    ----------
    record : Record
        Header and file of its result.
    files_dir : Path
        Where its output files are put when they are asked for.
    stderr : str
        Path of the job's standard error; empty if not known.
    label : str
        The task, for messages.
    """

    record: Record
    files_dir: Path
    stderr: str = ""
    label: str = ""

    @property
    def ok(self) -> bool:
        """Whether it returned."""
        return bool(self.record.header["ok"])

    @property
    def seconds(self) -> float:
        """How long it ran."""
        return float(self.record.header["seconds"])

    @property
    def stdout(self) -> str:
        """What it printed: beginning and end, where it was much."""
        return (self.record.part("stdout") or b"").decode("utf-8", "replace")

    @property
    def displays(self) -> list[dict[str, Any]]:
        """What a cell displayed, its last line's value included: MIME bundles."""
        data = self.record.part("displays")
        shown: list[dict[str, Any]] = payload.loads(data) if data else []
        return shown

    def value(self) -> Any:
        """Return its value.

        Raises
        ------
        Exception
            What it raised there, with the remote traceback as what is shown of it.
        TaskFailed
            That exception cannot be made here.
        ResultMissing
            The value cannot be unpickled here.
        """
        if not self.ok:
            raise self.exception()
        return self._home(self._load("value"))

    def _home(self, found: Any) -> Any:
        """Tell a file that came home where it is now."""
        if isinstance(found, job.File):
            found.path = self.files()[str(found.path)]
        return found

    def outputs(self) -> dict[str, Any]:
        """Return the variables that a cell has left, by name."""
        return {name: self.output(name) for name in self.record.names("out:")}

    def left_out(self) -> dict[str, str]:
        """Return why variables of a cell did not come back, by name."""
        data = self.record.part("left")
        return {str(name): str(why) for name, why in json.loads(data).items()} if data else {}

    def output(self, name: str) -> Any:
        """Return one variable that a cell has left."""
        return self._home(self._load(f"out:{name}"))

    def exception(self) -> BaseException:
        """Return what it raised."""
        header = self.record.header
        told = tracebacks.Remote(header["error"], header, self.stderr)
        if header["error"]["type"] == DIED:
            what = f"{told.error['message'][:1].upper()}{told.error['message'][1:]}."
            return WorkerLost(what, job=header["job"], hint=told.place)
        data = self.record.part("exception")
        error: BaseException
        try:
            error = payload.loads(data) if data else TaskFailed(told.summary, job=header["job"])
            if not isinstance(error, BaseException):
                raise TypeError  # noqa: TRY301 - no exception, so none to raise
        except Exception:  # noqa: BLE001 - its class may do anything
            error = TaskFailed(told.summary, job=header["job"], hint="Its exception cannot be made here.")
        if not isinstance(error, Exception):  # sys.exit() there must not end the notebook's own work here
            error = TaskFailed(told.summary, job=header["job"])
        return tracebacks.attach(error, told)

    def files(self) -> dict[str, Path]:
        """Return the files that it left, by name; they are put beside the results when they are first asked for."""
        found = {}
        for name in self.record.names("file:"):
            target = self.files_dir / name
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                new = target.with_name(f".{target.name}.new")
                self.record.save(f"file:{name}", new)
                new.replace(target)
            found[name] = target
        return found

    @property
    def _task(self) -> str:
        return self.label or f"task {self.record.header['id']}"

    def _load(self, part: str) -> Any:
        data = self.record.part(part)
        if data is None:
            raise ResultMissing(f"{self._task.capitalize()} left no value.", job=self.record.header["job"])
        try:
            return payload.loads(data)
        except Exception as error:  # noqa: BLE001 - unpickling calls everybody's code
            raise ResultMissing(
                f"What {self._task} returned cannot be unpickled here: {type(error).__name__}: {str(error)[:300]}",
                job=self.record.header["job"],
                hint="Its class must exist here as it does there; or return plain values.",
            ) from None
