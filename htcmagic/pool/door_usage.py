"""The door's half that reads an event log whole: what became of each job when, and what it used."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import classad2  # noqa: F401 - htcondor2 wants it first
import htcondor2

from htcmagic.errors import PoolError

WORK_S = 30.0
"""How long a log is read; a longer one is told as far as it was read."""
_Type = htcondor2.JobEventType
DETAILS: dict[int, tuple[str, ...]] = {
    int(_Type.SUBMIT): (),
    int(_Type.EXECUTE): ("ExecuteProps",),
    int(_Type.JOB_EVICTED): (),
    int(_Type.JOB_TERMINATED): (
        *("TerminatedNormally", "ReturnValue", "TotalRemoteUsage", "MemoryUsage", "DiskUsage"),
        *("RequestCpus", "RequestMemory", "RequestDisk"),
    ),
    int(_Type.SHADOW_EXCEPTION): (),
    int(_Type.JOB_ABORTED): (),
    int(_Type.JOB_HELD): ("HoldReasonCode", "HoldReason"),
    int(_Type.JOB_RELEASED): (),
    int(_Type.JOB_RECONNECT_FAILED): (),
}
"""Events that are told, and what of them."""
SLOT = ("Cpus", "Memory", "Disk")
LONGEST = 300


def story(_pool: object, path: str, *, cluster: int) -> dict[str, Any]:
    """Return a cluster's events as ``(type number, proc, time, details)``, and the most memory seen by proc, in MiB.

    Parameters
    ----------
    path : str
        The log.
    cluster : int
        Whose events; others may be in the same log.
    """
    deadline = time.monotonic() + WORK_S
    events: list[tuple[int, int, float, tuple[Any, ...]]] = []
    memory: dict[int, int] = {}
    partial = False
    try:
        log = htcondor2.JobEventLog(path)
    except htcondor2.HTCondorException:
        raise PoolError(f"The event log {path} cannot be read.", transient=True) from None
    try:
        for number, event in enumerate(log.events(0)):
            if number % 1000 == 0 and time.monotonic() > deadline:
                partial = True
                break
            if event.cluster != cluster:
                continue
            kind = int(event.type)
            if kind == _Type.IMAGE_SIZE:
                used = _get(event, "MemoryUsage")
                if isinstance(used, int):
                    memory[event.proc] = max(memory.get(event.proc, 0), used)
            elif kind in DETAILS:
                events.append((kind, event.proc, _when(event), tuple([_get(event, name) for name in DETAILS[kind]])))
    except htcondor2.HTCondorException:
        if not events:
            raise PoolError(f"The event log {path} is damaged.") from None
        partial = True
    finally:
        log.close()
    return {"events": events, "memory_mib": memory, "partial": partial}


def _when(event: Any) -> float:
    """Return when it was, with the part of a second that the bindings leave to the text."""
    fraction = str(_get(event, "EventTime") or "").partition(".")[2][:6]
    return float(event.timestamp) + (float(f"0.{fraction}") if fraction.isdigit() else 0.0)


def _get(event: Any, name: str) -> Any:
    try:
        value = event[name]
    except (KeyError, UnicodeDecodeError):
        return None
    if name == "ExecuteProps":
        return _slot(value)
    return value[:LONGEST] if isinstance(value, str) else value if type(value) in {int, float, bool} else None


def _slot(ad: Any) -> tuple[Any, ...]:
    try:
        values = [ad.get(name) for name in SLOT]
    except (AttributeError, UnicodeDecodeError):
        return (None, None, None)
    return tuple([value if isinstance(value, int | float) else None for value in values])


OPERATIONS: dict[str, Callable[..., Any]] = {"story": story}
