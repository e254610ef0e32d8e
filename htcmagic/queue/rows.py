"""What a queue is made of: the attributes asked for, one row a job or a batch, the totals."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, TypeAlias

Row: TypeAlias = tuple[object, ...]
"""One job's values, in the order of `BATCH_PROJECTION` or `JOB_PROJECTION`."""

BATCH_PROJECTION = (
    "ClusterId",
    "ProcId",
    "JobStatus",
    "JobUniverse",
    "Owner",
    "QDate",
    "JobBatchName",
    "DAGManJobId",
    "DAGNodeName",
    "DAG_NodesDone",
    "DAG_NodesTotal",
    "TotalSubmitProcs",
    "JobMaterializeNextProcId",
)
JOB_PROJECTION = (
    "ClusterId",
    "ProcId",
    "JobStatus",
    "JobUniverse",
    "Owner",
    "QDate",
    "ShadowBday",
    "LastRemoteWallClockTime",
    "TransferringInput",
    "TransferringOutput",
    "TransferQueued",
    "JobCoolDownExpiration",
    "JobPrio",
    "ImageSize",
    "MemoryUsage",
    "Cmd",
    "Args",
    "Arguments",
    "JobDescription",
    "MATCH_EXP_JobDescription",
)

IDLE, RUNNING, REMOVED, COMPLETED, HELD, TRANSFERRING_OUTPUT, SUSPENDED = range(1, 8)
SCHEDULER_UNIVERSE = 7
LETTERS = {1: "I", 2: "R", 3: "X", 4: "C", 5: "H", 6: ">", 7: "S", 8: "F", 9: "B"}
"""The letter condor_q has for a `JobStatus`."""


def whole(value: object, default: int = 0) -> int:
    """Return a number of the ad as int; anything else is the default."""
    if not isinstance(value, int | float):
        return default
    try:
        return int(value)
    except (ValueError, OverflowError):  # not a number, infinity
        return default


def words(value: object) -> str:
    """Return a string of the ad; anything else is empty."""
    return value if isinstance(value, str) else ""


def moment(value: object) -> datetime | None:
    """Return epoch seconds of the ad as an aware time; None where they make no sense (an owner can set them)."""
    seconds = whole(value, -1)
    return datetime.fromtimestamp(seconds, UTC) if 0 <= seconds < 253_000_000_000 else None


class Totals(NamedTuple):
    """Counted jobs, in the order condor_q prints them."""

    jobs: int = 0
    completed: int = 0
    removed: int = 0
    idle: int = 0
    running: int = 0
    held: int = 0
    suspended: int = 0


@dataclass(frozen=True, slots=True)
class JobRow:
    """One job, as a line of ``condor_q -nobatch``."""

    cluster: int
    proc: int
    owner: str
    submitted: datetime | None
    run_time: timedelta
    status: int
    state: str
    """One or two letters: ``I R X C H S F B``, ``<`` and ``>`` while files move, ``q`` queued, ``c`` cooling down."""
    priority: int
    size_mb: float | None
    command: str

    @property
    def id(self) -> str:
        """``cluster.proc``."""
        return f"{self.cluster}.{self.proc}"

    def as_dict(self) -> dict[str, object]:
        """Return the row under the names of condor_q's columns."""
        return {
            "ID": self.id,
            "OWNER": self.owner,
            "SUBMITTED": self.submitted,
            "RUN_TIME": self.run_time,
            "ST": self.state,
            "PRI": self.priority,
            "SIZE": self.size_mb,
            "CMD": self.command,
        }


@dataclass(frozen=True, slots=True)
class BatchRow:
    """Jobs that belong together, as a line of plain ``condor_q``."""

    owner: str
    batch_name: str
    submitted: datetime | None
    done: int
    run: int
    idle: int
    hold: int
    total: int
    """0 when it is not known."""
    job_ids: str

    def as_dict(self) -> dict[str, object]:
        """Return the row under the names of condor_q's columns."""
        return {
            "OWNER": self.owner,
            "BATCH_NAME": self.batch_name,
            "SUBMITTED": self.submitted,
            "DONE": self.done,
            "RUN": self.run,
            "IDLE": self.idle,
            "HOLD": self.hold,
            "TOTAL": self.total,
            "JOB_IDS": self.job_ids,
        }


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One answer of a schedd, with all that is needed to show it."""

    rows: list[Row]
    """Sorted by job id."""
    schedd: str
    address: str
    time: int
    """The schedd's clock, in epoch seconds."""
    query: Totals
    me: str = ""
    mine: Totals | None = None
    everyone: Totals | None = None
    partial: bool = False
    """Whether clusters may be incomplete, so that what is missing is not what is done."""


def count(rows: list[Row]) -> Totals:
    """Count the jobs of an answer; DAGMan's own jobs are none, as in condor_q's totals."""
    by_status = Counter([row[2] for row in rows if row[3] != SCHEDULER_UNIVERSE])
    completed, removed, idle = by_status[COMPLETED], by_status[REMOVED], by_status[IDLE]
    running = by_status[RUNNING] + by_status[TRANSFERRING_OUTPUT]
    held, suspended = by_status[HELD], by_status[SUSPENDED]
    jobs = completed + removed + idle + running + held + suspended
    return Totals(jobs, completed, removed, idle, running, held, suspended)


def totals(summary: dict[str, object], prefix: str) -> Totals | None:
    """Read one line of totals from the schedd's summary, None where it has none."""
    if prefix + "Jobs" not in summary:
        return None
    return Totals(*(whole(summary.get(prefix + name.capitalize())) for name in Totals._fields))
