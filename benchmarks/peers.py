"""The other side of the comparisons, in a process of its own: HTCondor's bare Python bindings."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from worker import serve


def bindings() -> dict[str, Any]:
    """Import them."""
    began = time.perf_counter()
    import htcondor2  # noqa: F401, PLC0415

    return {"seconds": time.perf_counter() - began}


def submit(text: str, jobs: int) -> dict[str, Any]:
    """Send many jobs with one call; importing the bindings is not timed."""
    import htcondor2  # noqa: PLC0415

    items = [{"x": str(n % 100), "y": str(n // 100)} for n in range(jobs)]
    began = time.perf_counter()
    sent = htcondor2.Schedd().submit(htcondor2.Submit(text), itemdata=iter(items))
    seconds = time.perf_counter() - began
    assert sent.num_procs() == jobs
    return {"seconds": seconds, "cluster": sent.cluster()}


def submit_each(text: str, jobs: int, *, queried: bool) -> dict[str, Any]:
    """Send many jobs with one call each, as a loop over grid points does; perhaps look each up afterwards."""
    import htcondor2  # noqa: PLC0415

    schedd = htcondor2.Schedd()
    began = time.perf_counter()
    for number in range(jobs):
        sent = schedd.submit(htcondor2.Submit(f"x = {number % 100}\ny = {number // 100}\n{text}"))
        if queried:
            schedd.query(f"ClusterId == {sent.cluster()}", ["ProcId", "JobStatus"])
    return {"seconds": time.perf_counter() - began}


def latency(folder: str) -> dict[str, Any]:
    """Send one job and wait for the event of its end."""
    import htcondor2  # noqa: PLC0415

    log = Path(folder) / f"bare-{time.time_ns()}.log"
    began = time.perf_counter()
    description = htcondor2.Submit({"executable": "/bin/true", "log": str(log)})
    htcondor2.Schedd().submit(description)
    for event in htcondor2.JobEventLog(str(log)).events(60):
        if event.type == htcondor2.JobEventType.JOB_TERMINATED:
            break
    return {"seconds": time.perf_counter() - began}


def remove(constraint: str) -> dict[str, Any]:
    """Remove jobs and wait until none is left."""
    import htcondor2  # noqa: PLC0415

    schedd = htcondor2.Schedd()
    began = time.perf_counter()
    schedd.act(htcondor2.JobAction.Remove, constraint)
    while schedd.query(constraint, ["ProcId"], limit=1):
        time.sleep(0.1)
    return {"seconds": time.perf_counter() - began}


if __name__ == "__main__":
    serve(bindings, submit, submit_each, latency, remove)
