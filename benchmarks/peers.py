"""The other side of the comparisons, in a process of its own: HTCondor's bare Python bindings."""

from __future__ import annotations

import contextlib
import sys
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


PATIENCE_S = 120
RUN = """\
import pickle, sys
number = sys.argv[1]
with open("function", "rb") as function, open(number, "rb") as argument, open("out." + number, "wb") as result:
    pickle.dump(pickle.load(function)(pickle.load(argument)), result)
"""


def alone(calls: int, folder: str) -> dict[str, Any]:
    """Call a function with a job for each call, its files transferred: how HTMap works, on today's bindings."""
    import cloudpickle  # noqa: PLC0415
    import htcondor2  # noqa: PLC0415

    def double(x: int) -> int:
        return 2 * x

    here = Path(folder) / f"alone-{time.time_ns()}"
    began = time.perf_counter()
    here.mkdir()
    (here / "run.py").write_text(RUN)
    (here / "function").write_bytes(cloudpickle.dumps(double))
    for n in range(calls):
        (here / str(n)).write_bytes(cloudpickle.dumps(n))
    log = here / "log"
    description = {
        "executable": sys.executable,
        "transfer_executable": "false",
        "arguments": "run.py $(n)",
        "initialdir": str(here),
        "should_transfer_files": "YES",
        "when_to_transfer_output": "ON_EXIT",
        "transfer_input_files": "run.py, function, $(n)",
        "transfer_output_files": "out.$(n)",
        "request_memory": "128MB",
        "request_disk": "50MB",
        "log": str(log),
    }
    htcondor2.Schedd().submit(htcondor2.Submit(description), itemdata=iter([{"n": str(n)} for n in range(calls)]))
    left = calls
    for event in htcondor2.JobEventLog(str(log)).events(300):
        left -= event.type == htcondor2.JobEventType.JOB_TERMINATED
        if not left:
            break
    results = [cloudpickle.loads((here / f"out.{n}").read_bytes()) for n in range(calls)]
    seconds = time.perf_counter() - began
    assert results == [2 * n for n in range(calls)]
    return {"seconds": seconds}


def act(action: str, ids: list[str]) -> dict[str, Any]:
    """Hold or release jobs."""
    import htcondor2  # noqa: PLC0415

    htcondor2.Schedd().act(getattr(htcondor2.JobAction, action), ids)
    return {}


def stir(cluster: int, rate: float, seconds: float) -> dict[str, Any]:
    """Have so many events a second: the jobs of a cluster are released and held one after the other."""
    import htcondor2  # noqa: PLC0415

    schedd = htcondor2.Schedd()
    began = time.monotonic()
    for number in range(int(rate * seconds)):
        action = htcondor2.JobAction.Hold if number % 2 else htcondor2.JobAction.Release
        schedd.act(action, [f"{cluster}.{20 + number // 2 % 50}"])
        time.sleep(max(0.0, began + (number + 1) / rate - time.monotonic()))
    return {"events": int(rate * seconds), "seconds": time.monotonic() - began}


def remove(constraint: str) -> dict[str, Any]:
    """Remove jobs and wait until none is left."""
    import htcondor2  # noqa: PLC0415

    schedd = htcondor2.Schedd()
    began = time.perf_counter()
    schedd.act(htcondor2.JobAction.Remove, constraint)
    while time.perf_counter() - began < PATIENCE_S:
        with contextlib.suppress(htcondor2.HTCondorException):  # removing 100,000 jobs, a schedd hears nothing else
            if not schedd.query(constraint, ["ProcId"], limit=1):
                return {"seconds": time.perf_counter() - began}
        time.sleep(0.1)
    raise TimeoutError(f"{constraint}: still in the queue")


if __name__ == "__main__":
    serve(bindings, submit, submit_each, latency, alone, act, stir, remove)
