"""The views of condor_q beside batches and jobs: what each asks for, and its rows as data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from htcmagic.queue.listing import Record
from htcmagic.queue.rows import JOB_PROJECTION, moment, whole
from htcmagic.queue.table import job_row

UNIVERSES = {
    1: "Standard",
    5: "Vanilla",
    7: "Scheduler",
    8: "MPI",
    9: "Grid",
    10: "Java",
    11: "Parallel",
    12: "Local",
    13: "VM",
}
_NEVER_LONGER_S = 10**12


@dataclass(frozen=True, slots=True)
class View:
    """One way to look at a queue.

    Parameters
    ----------
    columns : tuple of str
        The command's words for them.
    values : tuple of str
        Attributes and expressions of which rows are made.
    rows : callable
        Values of all jobs and the schedd's time to rows.
    constraint : str
        Jobs that this view is about; empty: all.
    drawn : tuple of str
        Attributes that condor_q needs beside `values` to draw it.
    """

    columns: tuple[str, ...]
    values: tuple[str, ...]
    rows: Callable[[Sequence[tuple[object, ...]], int], list[Record]]
    constraint: str = ""
    drawn: tuple[str, ...] = field(default=())


def _each(make: Callable[[dict[str, object], int], Record], values: tuple[str, ...]) -> Callable[..., list[Record]]:
    def rows(found: Sequence[tuple[object, ...]], now: int) -> list[Record]:
        return [make(dict(zip(values, row, strict=True)), now) for row in found]

    return rows


def _id(ad: dict[str, object]) -> str:
    return f"{whole(ad['ClusterId'])}.{whole(ad['ProcId'])}"


def seconds(value: object) -> timedelta:
    """Return a number of seconds of the ad as a time; nonsense as none."""
    return timedelta(seconds=min(max(whole(value), 0), _NEVER_LONGER_S))


RUNNING = (
    *("ClusterId", "ProcId", "Owner", "QDate", "JobStatus", "JobUniverse", "ShadowBday"),
    *("LastRemoteWallClockTime", "RemoteHost", "EC2RemoteVirtualMachineName", "GridResource"),
)


def _running(ad: dict[str, object], now: int) -> Record:
    begun = whole(ad["ShadowBday"])
    place = ad["RemoteHost"]
    if whole(ad["JobUniverse"]) == 9:
        place = ad["EC2RemoteVirtualMachineName"] or ad["GridResource"] or place
    return {
        "ID": _id(ad),
        "OWNER": ad["Owner"],
        "SUBMITTED": moment(ad["QDate"]),
        "RUN_TIME": seconds(now - begun if begun else 0),
        "HOST(S)": place,
    }


HELD = ("ClusterId", "ProcId", "Owner", "EnteredCurrentStatus", "HoldReasonCode", "HoldReasonSubCode", "HoldReason")


def _held(ad: dict[str, object], _now: int) -> Record:
    return {
        "ID": _id(ad),
        "OWNER": ad["Owner"],
        "HELD_SINCE": moment(ad["EnteredCurrentStatus"]),
        "CODE": ad["HoldReasonCode"],
        "SUB": ad["HoldReasonSubCode"],
        "HOLD_REASON": ad["HoldReason"],
    }


def _hold_codes(found: Sequence[tuple[object, ...]], now: int) -> list[Record]:
    """Return a row for each pair of codes, with the first of its jobs."""
    groups: dict[tuple[object, object], list[Record]] = {}
    for row in sorted(found, key=lambda row: (whole(row[0]), whole(row[1]))):
        one = _held(dict(zip(HELD, row, strict=True)), now)
        groups.setdefault((one["CODE"], one["SUB"]), []).append(one)
    ordered = sorted(groups.items(), key=lambda item: [(code is None, whole(code)) for code in item[0]])
    return [
        {
            "OWNER": jobs[0]["OWNER"],
            "CODE": code,
            "SUB": sub,
            "COUNT": len(jobs),
            "OLDEST_JOB_ID": jobs[0]["ID"],
            "HELD_SINCE": jobs[0]["HELD_SINCE"],
            "HOLD_REASON": jobs[0]["HOLD_REASON"],
        }
        for (code, sub), jobs in ordered
    ]


IDLE = (
    *("ClusterId", "ProcId", "Owner", "JobUniverse", "RequestCpus", "RequestMemory", "NumShadowStarts"),
    "LastRemoteHost",
)


def _idle(ad: dict[str, object], _now: int) -> Record:
    universe = whole(ad["JobUniverse"])
    return {
        "ID": _id(ad),
        "OWNER": ad["Owner"],
        "UNIVERSE": UNIVERSES.get(universe, str(universe)),
        "CPUS": ad["RequestCpus"],
        "MEMORY": ad["RequestMemory"],
        "STARTS": whole(ad["NumShadowStarts"]),
        "LAST_HOST": ad["LastRemoteHost"],
    }


IO = (*JOB_PROJECTION, "NumJobStarts", "BytesRecvd", "BytesSent")


def _io(ad: dict[str, object], now: int) -> Record:
    job = job_row(tuple(ad[name] for name in JOB_PROJECTION), now)
    taken, given = ad["BytesRecvd"], ad["BytesSent"]
    known = isinstance(taken, int | float) and isinstance(given, int | float)
    return {
        "ID": job.id,
        "OWNER": job.owner,
        "RUNS": ad["NumJobStarts"],
        "ST": job.state,
        "INPUT": taken,
        "OUTPUT": given,
        "RATE": float(taken) + float(given) if known else None,  # type: ignore[arg-type]
        "MISC": ad["JobUniverse"],
    }


GRID = ("ClusterId", "ProcId", "Owner", "GridJobStatus", "GridResource", "GridJobId", "EC2RemoteVirtualMachineName")


def _grid(ad: dict[str, object], _now: int) -> Record:
    return {
        "ID": _id(ad),
        "OWNER": ad["Owner"],
        "STATUS": ad["GridJobStatus"],
        "GRID_RESOURCE": ad["GridResource"],
        "GRID_JOB_ID": ad["GridJobId"],
    }


JOBS = (*JOB_PROJECTION, "RemoteUserCpu", "DAGNodeName", "DAGManJobId")


def _jobs(*, cpu_time: bool, dag: bool) -> Callable[[dict[str, object], int], Record]:
    def make(ad: dict[str, object], now: int) -> Record:
        record = job_row(tuple(ad[name] for name in JOB_PROJECTION), now).as_dict()
        if cpu_time:
            record["RUN_TIME"] = seconds(ad["RemoteUserCpu"])
        renamed = {"RUN_TIME": "CPU_TIME"} if cpu_time else {}
        if dag:
            renamed["OWNER"] = "OWNER/NODENAME"
            record["OWNER"] = ad["DAGNodeName"] or record["OWNER"]
        return {renamed.get(name, name): value for name, value in record.items()}

    return make


def jobs(*, cpu_time: bool = False, dag: bool = False) -> View:
    """Return the view of one line a job, with processor time or DAG nodes' names."""
    columns = (
        *("ID", "OWNER/NODENAME" if dag else "OWNER", "SUBMITTED", "CPU_TIME" if cpu_time else "RUN_TIME"),
        *("ST", "PRI", "SIZE", "CMD"),
    )
    drawn = ("RemoteWallClockTime", "LastSuspensionTime", "NiceUser", "ServerTime")
    return View(columns, JOBS, _each(_jobs(cpu_time=cpu_time, dag=dag), JOBS), drawn=drawn)


def of_values(columns: Sequence[tuple[str, str]], constraint: str = "") -> View:
    """Return the view of the user's own columns: headings and expressions."""

    def rows(found: Sequence[tuple[object, ...]], _now: int) -> list[Record]:
        return [dict(zip(names, row, strict=True)) for row in found]

    names = tuple(head for head, _ in columns)
    return View(names, tuple(what for _, what in columns), rows, constraint)


VIEWS = {
    "run": View(
        ("ID", "OWNER", "SUBMITTED", "RUN_TIME", "HOST(S)"),
        RUNNING,
        _each(_running, RUNNING),
        constraint="(JobStatus == 2 || JobStatus == 6 || JobStatus == 7)",
        drawn=("NiceUser", "RemoteUserCpu", "RemoteWallClockTime", "ServerTime"),
    ),
    "hold": View(
        ("ID", "OWNER", "HELD_SINCE", "CODE", "SUB", "HOLD_REASON"),
        HELD,
        _each(_held, HELD),
        constraint="(JobStatus==5)",
        drawn=("NiceUser", "JobStatus", "JobUniverse"),
    ),
    "hold_codes": View(
        ("OWNER", "CODE", "SUB", "COUNT", "OLDEST_JOB_ID", "HELD_SINCE", "HOLD_REASON"),
        HELD,
        _hold_codes,
        constraint="(JobStatus==5)",
        drawn=("NiceUser", "JobStatus"),
    ),
    "idle": View(
        ("ID", "OWNER", "UNIVERSE", "CPUS", "MEMORY", "STARTS", "LAST_HOST"),
        IDLE,
        _each(_idle, IDLE),
        constraint="(JobStatus==1)",
        drawn=("NiceUser", "JobStatus"),
    ),
    "io": View(
        ("ID", "OWNER", "RUNS", "ST", "INPUT", "OUTPUT", "RATE", "MISC"),
        IO,
        _each(_io, IO),
        constraint="(JobUniverse==1 || TransferQueued=?=true || TransferringOutput=?=true || TransferringInput=?=true)",
        drawn=("FileReadBytes", "FileWriteBytes", "LastSuspensionTime", "NiceUser", "NumCkpts_RAW"),
    ),
    "grid": View(
        ("ID", "OWNER", "STATUS", "GRID_RESOURCE", "GRID_JOB_ID"),
        GRID,
        _each(_grid, GRID),
        constraint="(JobUniverse == 9)",
        drawn=("NiceUser", "JobUniverse"),
    ),
}
