"""The answer of a queue as Python meets it: a sequence of rows that shows itself as text, HTML or a data frame."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias, overload

from htcmagic.queue import html, text
from htcmagic.queue.batches import batches
from htcmagic.queue.frame import pandas
from htcmagic.queue.rows import BatchRow, JobRow, Row, Snapshot, moment, whole, words

if TYPE_CHECKING:
    import pandas as pd

AnyRow: TypeAlias = JobRow | BatchRow
JOB_COLUMNS = ("ID", "OWNER", "SUBMITTED", "RUN_TIME", "ST", "PRI", "SIZE", "CMD")
BATCH_COLUMNS = ("OWNER", "BATCH_NAME", "SUBMITTED", "DONE", "RUN", "IDLE", "HOLD", "TOTAL", "JOB_IDS")


class QueueTable(Sequence[AnyRow]):
    """What a schedd answered, as it was then.

    Parameters
    ----------
    snapshot : Snapshot
        The answer.
    nobatch : bool
        Rows are jobs; else batches.
    drawn : str
        Its text, if condor_q has made that.
    """

    def __init__(self, snapshot: Snapshot, *, nobatch: bool, drawn: str = "") -> None:
        self.snapshot = snapshot
        self.nobatch = nobatch
        self.note = ""
        self._drawn = drawn

    @cached_property
    def rows(self) -> tuple[AnyRow, ...]:
        """The rows, made when they are first asked for."""
        if self.nobatch:
            return tuple(job_row(row, self.snapshot.time) for row in self.snapshot.rows)
        return tuple(batches(self.snapshot))

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of condor_q's columns."""
        return JOB_COLUMNS if self.nobatch else BATCH_COLUMNS

    def __len__(self) -> int:
        return len(self.snapshot.rows) if self.nobatch else len(self.rows)

    @overload
    def __getitem__(self, index: int) -> AnyRow: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[AnyRow, ...]: ...
    def __getitem__(self, index: int | slice) -> AnyRow | tuple[AnyRow, ...]:
        return self.rows[index]

    @cached_property
    def text(self) -> str:
        """What condor_q writes, byte by byte, but for codes that would steer a terminal."""
        return text.harmless(self._drawn or text.render(self.snapshot, nobatch=self.nobatch))

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__

    def _repr_html_(self) -> str:
        shown = html.LIMIT
        if self.nobatch:
            drawn: Sequence[AnyRow] = [job_row(row, self.snapshot.time) for row in self.snapshot.rows[:shown]]
        else:
            drawn = self.rows[:shown]
        return html.render(self.snapshot, drawn, left_out=len(self) - len(drawn), nobatch=self.nobatch)

    def to_dicts(self) -> list[dict[str, object]]:
        """Return a dict a row, under the names of condor_q's columns."""
        return [row.as_dict() for row in self.rows]

    def to_dataframe(self) -> pd.DataFrame:
        """Return the rows as a pandas data frame, its columns named as condor_q names them.

        Raises
        ------
        HTCMagicError
            Pandas is not installed.
        """
        module = pandas()
        values: list[dict[str, Any]] = self.to_dicts()
        frame: pd.DataFrame = module.DataFrame(values, columns=list(self.columns))
        frame["SUBMITTED"] = module.to_datetime(frame["SUBMITTED"], utc=True)
        if self.nobatch:
            frame["RUN_TIME"] = module.to_timedelta(frame["RUN_TIME"])
            frame["SIZE"] = frame["SIZE"].astype(float)
        return frame


def job_row(row: Row, now: int) -> JobRow:
    """Return a job's values as a row of the table."""
    (cluster, proc, status, _, owner, queued, start, last, taking, giving, waiting, cool, priority, image, memory) = (
        row[:15]
    )
    seconds = text.run_seconds(status, start, last, now)
    return JobRow(
        cluster=whole(cluster),
        proc=whole(proc),
        owner=words(owner),
        submitted=moment(queued),
        run_time=timedelta(seconds=min(max(seconds, -(10**12)), 10**12)),
        status=whole(status),
        state=text.state(status, taking, giving, waiting, cool, now=now).strip(),
        priority=whole(priority),
        size_mb=text.size_of(image, memory),
        command=text.command_of(*row[15:20]),
    )
