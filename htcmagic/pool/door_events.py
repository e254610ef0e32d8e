"""The door's half that reads event logs: what is new in a log since the last time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import classad2  # noqa: F401 - htcondor2 wants it first
import htcondor2

from htcmagic.errors import PoolError

_logs: dict[int, Any] = {}
_Type = htcondor2.JobEventType
DETAILS: dict[Any, tuple[str, ...]] = {
    _Type.EXECUTE: ("ExecuteHost", "SlotName"),
    _Type.JOB_TERMINATED: ("TerminatedNormally", "ReturnValue", "TerminatedBySignal"),
    _Type.JOB_HELD: ("HoldReason", "HoldReasonCode", "HoldReasonSubCode"),
    _Type.JOB_ABORTED: ("Reason",),
    _Type.JOB_RELEASED: ("Reason",),
    _Type.SHADOW_EXCEPTION: ("Message",),
    _Type.GENERIC: ("Info",),
    _Type.CLUSTER_REMOVE: ("CompletionCode", "NextProcId", "Notes"),
}
"""What of an event is handed on; everything else of a log is left in the file."""

Event = tuple[int, int, int, float, tuple[Any, ...]]


def events(_pool: object, path: str, *, reader: int, restart: bool = False) -> list[Event]:
    """Return events not yet returned: ``(type number, cluster, proc, time, details)``.

    Parameters
    ----------
    path : str
        The log.
    reader : int
        Who reads: each has a place of its own in the log, since several clusters may share one.
    restart : bool
        Read it from its beginning.
    """
    if restart:
        forget(None, reader)
    log = _logs.get(reader)
    if log is None:
        try:
            log = _logs[reader] = htcondor2.JobEventLog(path)
        except htcondor2.HTCondorException:
            raise PoolError(f"The event log {path} cannot be read.", transient=True) from None
    new = []
    try:
        for event in log.events(0):
            details = DETAILS.get(event.type, ())
            when = float(event.timestamp)
            new.append(
                (
                    int(event.type),
                    event.cluster,
                    event.proc,
                    when,
                    tuple(door_value(event, name) for name in details),
                )
            )
    except htcondor2.HTCondorException:
        forget(None, reader)
        raise PoolError(f"The event log {path} is damaged.") from None
    return new


def door_value(event: Any, name: str) -> Any:
    """Return one detail as a plain value; None where the event has none."""
    try:
        value = event[name]
    except KeyError:
        return None
    return value if type(value) in {int, float, str, bool} else None if value is None else str(value)


def forget(_pool: object, reader: int) -> None:
    """Close a reader's log."""
    log = _logs.pop(reader, None)
    if log is not None:
        log.close()


OPERATIONS: dict[str, Callable[..., Any]] = {"events": events, "forget": forget}
