"""The jobs of engines as the schedd tells of them: one projected query, values made from its rows."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from htcmagic.engines.session import ATTRIBUTE
from htcmagic.engines.surroundings import last_words
from htcmagic.jobs.model import JobId

DAG = "HtcmagicDag"
PROJECTION = (
    *("ClusterId", "ProcId", "JobStatus", "RequestCpus", "QDate", "JobCurrentStartDate", "RemoteWallClockTime"),
    *("EnteredCurrentStatus", "HoldReason", "HoldReasonCode", "ExitCode", "RemoveReason", "LastHoldReasonCode"),
    *("Err", "Iwd", "JobUniverse", "JobBatchName", DAG, ATTRIBUTE),
    *(f"{ATTRIBUTE}Kind", f"{ATTRIBUTE}Label", f"{ATTRIBUTE}Kernel"),
)
IDLE, RUNNING, REMOVED, COMPLETED, HELD, TRANSFERRING, SUSPENDED = range(1, 8)
BUSY = frozenset({RUNNING, TRANSFERRING, SUSPENDED})
OVER = frozenset({REMOVED, COMPLETED})
WALLTIME = frozenset({46, 47})
"""Hold codes of a job that has used its time: allowed_job_duration, allowed_execute_duration."""
SCHEDULER = 7
"""Universe of a job that the schedd itself runs: DAGMan."""
TAIL_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Job:
    """A job of an engine at one moment.

    Attributes
    ----------
    engine, kind, label, kernel : str
        As its marks say.
    cpus : float
        Cores.
    slot_hours : float
        What it has used of them.
    reason : str
        Why it is held.
    """

    id: JobId
    engine: str
    kind: str
    label: str
    kernel: str
    status: int
    cpus: float
    queued: float
    since: float
    slot_hours: float
    reason: str = ""
    code: int = 0
    exit_code: int | None = None
    removed: str = ""
    last_code: int = 0
    error_file: str = ""

    @property
    def busy(self) -> bool:
        """Whether it has a slot."""
        return self.status in BUSY

    @property
    def out_of_time(self) -> bool:
        """Whether it has ended since its time was over."""
        return (self.code or self.last_code) in WALLTIME

    def last_words(self) -> str:
        """Return what its standard error says of its end; empty where that cannot be read."""
        with contextlib.suppress(OSError, ValueError), Path(self.error_file).open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL_BYTES))
            return last_words(file.read().decode("utf-8", "replace"))
        return ""


def read(rows: Iterable[Sequence[object]]) -> list[Job]:
    """Return the jobs of rows in the order of :data:`PROJECTION`; foreign rows, which make no sense, are left out."""
    now = time.time()
    found = []
    for row in rows:
        ad = dict(zip(PROJECTION, row, strict=True))
        with contextlib.suppress(TypeError, ValueError):
            found.append(_job(ad, now))
    return found


def _job(ad: dict[str, Any], now: float) -> Job:
    status, cpus = int(ad["JobStatus"]), _number(ad["RequestCpus"]) or 1.0
    dagman = ad["JobUniverse"] == SCHEDULER
    used = _number(ad["RemoteWallClockTime"])
    if status in BUSY and _number(ad["JobCurrentStartDate"]):
        used += max(0.0, now - _number(ad["JobCurrentStartDate"]))
    engine = _text(ad[ATTRIBUTE])
    return Job(
        JobId(int(ad["ClusterId"]), int(ad["ProcId"])),
        engine or f"dag {_text(ad[DAG])}",
        _text(ad[f"{ATTRIBUTE}Kind"]) or "dag",
        _text(ad[f"{ATTRIBUTE}Label"]) or (_text(ad["JobBatchName"]) if dagman else ""),
        _text(ad[f"{ATTRIBUTE}Kernel"]),
        status,
        0.0 if dagman else cpus,
        _number(ad["QDate"]),
        _number(ad["EnteredCurrentStatus"]),
        0.0 if dagman else used * cpus / 3600,
        _text(ad["HoldReason"]),
        int(_number(ad["HoldReasonCode"])),
        ad["ExitCode"] if isinstance(ad["ExitCode"], int) else None,
        _text(ad["RemoveReason"]),
        int(_number(ad["LastHoldReasonCode"])),
        str(Path(_text(ad["Iwd"])) / _text(ad["Err"])) if _text(ad["Err"]) else "",
    )


def _number(value: object) -> float:
    known = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e12
    return float(value) if known else 0.0  # type: ignore[arg-type]


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
