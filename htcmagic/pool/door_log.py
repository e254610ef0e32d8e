"""The door's half that reads event logs for people: every event, with what it says."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

import classad2  # noqa: F401 - htcondor2 wants it first
import htcondor2

from htcmagic.errors import PoolError
from htcmagic.pool.door_events import door_value

Told = tuple[int, int, int, float, str, dict[str, Any]]
"""Type number, cluster, proc, time, the text below the event's first line, attributes."""
_logs: dict[str, Any] = {}
_HEAD = re.compile(r"\A\d+ \([\d.-]+\) \S+ \S+ ")
WANTED = (
    "SubmitHost",
    "ExecuteHost",
    "SlotName",
    "TerminatedNormally",
    "ReturnValue",
    "TerminatedBySignal",
    "HoldReason",
    "HoldReasonCode",
    "Reason",
    "Message",
    "MemoryUsage",
)


def told(_pool: object, path: str, *, restart: bool = False) -> list[Told]:
    """Return the events of a log that were not yet returned; all of them if `restart`."""
    if restart:
        done_with(None, path)
    log = _logs.get(path)
    try:
        if log is None:
            log = _logs[path] = htcondor2.JobEventLog(path)
        return [_told(event) for event in log.events(0)]
    except htcondor2.HTCondorException:
        done_with(None, path)
        raise PoolError(f"The event log {path} cannot be read, or is damaged.") from None


def _told(event: Any) -> Told:
    values = {name: value for name in WANTED if (value := door_value(event, name)) is not None}
    return (int(event.type), event.cluster, event.proc, _time(event), _HEAD.sub("", str(event)), values)


def _time(event: Any) -> float:
    try:
        return datetime.fromisoformat(str(event["EventTime"])).timestamp()
    except (KeyError, ValueError):
        return float(event.timestamp)


def done_with(_pool: object, path: str) -> None:
    """Close a log."""
    log = _logs.pop(path, None)
    if log is not None:
        log.close()


OPERATIONS: dict[str, Callable[..., Any]] = {"told": told, "done_with": done_with}
