"""The door's half for DAGMan: the description of its job, the log of its nodes' jobs, and words to it while it runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import classad2  # noqa: F401 - htcondor2 wants it first
import htcondor2

from htcmagic.errors import PoolError
from htcmagic.pool import door, door_events
from htcmagic.pool.address import Pool
from htcmagic.pool.door_submit import enter

Event = tuple[int, int, int, float, str, tuple[Any, ...]]

_Type = htcondor2.JobEventType
DETAILS = {
    **door_events.DETAILS,
    _Type.POST_SCRIPT_TERMINATED: ("TerminatedNormally", "ReturnValue", "TerminatedBySignal"),
}
_logs: dict[int, Any] = {}


def dag_description(
    _pool: Pool, file: str, options: dict[str, str | int | bool], cwd: str, env: dict[str, str] | None = None
) -> list[tuple[str, str]]:
    """Return the submit description of the DAGMan job for a DAG as condor_submit_dag makes it; no file stays.

    Parameters
    ----------
    options : dict
        condor_submit_dag's, as ``htcondor2.Submit.from_dag`` takes them.
    """
    enter(cwd, env)
    made = Path(f"{file}.condor.sub")
    before = made.read_bytes() if made.exists() else None
    program = Path(str(htcondor2.param.get("BIN", ""))) / "condor_dagman"
    if program.exists():  # else it is looked for on PATH
        options = {"dagman": str(program), **options}
    try:
        submit = htcondor2.Submit.from_dag(file, {**options, "update_submit": True})
        return [(key, submit.get(key, "")) for key in submit]
    finally:
        if before is None:
            made.unlink(missing_ok=True)
        else:
            made.write_bytes(before)


def dag_events(_pool: object, path: str, *, reader: int, restart: bool = False) -> list[Event]:
    """Return what is new in a log of nodes' jobs: ``(type number, cluster, proc, time, node, details)``.

    Parameters
    ----------
    path : str
        The log.
    reader : int
        Who reads.
    restart : bool
        Read it from its beginning.
    """
    if restart:
        dag_forget(None, reader)
    if reader not in _logs:
        try:
            _logs[reader] = htcondor2.JobEventLog(path)
        except htcondor2.HTCondorException:
            raise PoolError(f"The event log {path} cannot be read.", transient=True) from None
    new = []
    try:
        for event in _logs[reader].events(0):
            details = tuple(door_events.door_value(event, name) for name in DETAILS.get(event.type, ()))
            node = _node(event) if int(event.type) in {0, 16} else ""
            new.append((int(event.type), event.cluster, event.proc, float(event.timestamp), node, details))
    except htcondor2.HTCondorException:
        dag_forget(None, reader)
        raise PoolError(f"The event log {path} is damaged.") from None
    return new


def _node(event: Any) -> str:
    """Return the node's name that DAGMan has written into an event."""
    notes = event.get("StructuredNotes")
    name = notes.get("DAGNodeName") if hasattr(notes, "get") else None
    if name is None:
        text = str(event.get("LogNotes") or event.get("DAGNodeName") or "")
        name = text.partition("DAG Node:")[2].strip() if "DAG Node:" in text else event.get("DAGNodeName")
    return str(name or "")


def dag_forget(_pool: object, reader: int) -> None:
    """Close a reader's log."""
    log = _logs.pop(reader, None)
    if log is not None:
        log.close()


def dag_command(pool: Pool, cluster: int, command: str, values: dict[str, Any]) -> str:
    """Tell a running DAGMan something; return what is wrong, empty if nothing is.

    Parameters
    ----------
    command : str
        ``halt``, ``resume`` or ``throttle``.
    values : dict
        What goes with it, as the methods of ``htcondor2.DAGMan`` take it.
    """
    schedd = door.schedd_of(pool)
    there = htcondor2.DAGMan(cluster)
    found = schedd._get_dag_contact_info(cluster)  # noqa: SLF001 - DAGMan() asks the configured schedd only
    if not found.get("Result", False):
        return str(found.get("ErrorString", "it cannot be reached"))
    there._contact = htcondor2.DAGMan.ContactInfo(found["Address"], found["Secret"])  # noqa: SLF001
    answer = getattr(there, command)(**values)
    if isinstance(answer, tuple):
        return "" if answer[0] else str(answer[1] or "it refuses")
    return answer if isinstance(answer, str) else ""


OPERATIONS: dict[str, Callable[..., Any]] = {
    "dag_description": dag_description,
    "dag_events": dag_events,
    "dag_forget": dag_forget,
    "dag_command": dag_command,
}
