"""The same workflow with a DAG, a description and a script written by hand, run by condor_submit_dag."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from worker import serve

POLL_S = 0.1
STEP = """\
import pickle, sys
what, name, *inputs = sys.argv[1:]
values = []
for each in inputs:
    with open(each + ".pkl", "rb") as file:
        values.append(pickle.load(file))
if what == "throw":
    result = int(name.removeprefix("throw")) + 1
elif what == "refine":
    result = 2 * values[0]
else:
    result = sum(values)
with open(name + ".pkl", "wb") as file:
    pickle.dump(result, file)
"""
DESCRIPTION = """\
executable = {python}
arguments = "step.py $(args)"
initialdir = {folder}
output = $(JOB).out
error = $(JOB).err
request_memory = 64MB
request_disk = 10MB
queue
"""
SETTINGS = {"_CONDOR_DAGMAN_USER_LOG_SCAN_INTERVAL": "1", "_CONDOR_DAGMAN_USE_STRICT": "0"}
"""As ours has it on a personal pool, DAGMan looks each second, in place of every five; and it takes a log in /tmp."""


def ready() -> dict[str, Any]:
    """Have nothing to import."""
    return {}


def workflow(nodes: int) -> dict[str, Any]:
    """Run it: from writing its files to the sum."""
    pairs = (nodes - 1) // 2
    began = time.perf_counter()
    folder = Path(f"dag-{time.time_ns()}").absolute()
    folder.mkdir()
    (folder / "step.py").write_text(STEP)
    (folder / "step.sub").write_text(DESCRIPTION.format(python=sys.executable, folder=folder))
    lines = []
    for n in range(pairs):
        lines += [f"JOB throw{n} step.sub", f'VARS throw{n} args="throw throw{n}"']
        lines += [f"JOB refine{n} step.sub", f'VARS refine{n} args="refine refine{n} throw{n}"']
        lines.append(f"PARENT throw{n} CHILD refine{n}")
    inputs = " ".join(f"refine{n}" for n in range(pairs))
    lines += ["JOB total step.sub", f'VARS total args="total total {inputs}"', f"PARENT {inputs} CHILD total"]
    (folder / "flow.dag").write_text("\n".join([*lines, ""]))
    environment = {**os.environ, **SETTINGS}
    subprocess.run(
        ["condor_submit_dag", "flow.dag"], cwd=folder, env=environment, stdout=subprocess.DEVNULL, check=True
    )
    sent = time.perf_counter() - began
    log = folder / "flow.dag.dagman.log"
    while not (log.exists() and "Job terminated." in log.read_text()):
        assert time.perf_counter() - began < 600, "the DAG does not end"
        time.sleep(POLL_S)
    result = pickle.loads((folder / "total.pkl").read_bytes())  # noqa: S301
    seconds = time.perf_counter() - began
    assert result == pairs * (pairs + 1)
    return {"seconds": seconds, "sent": sent}


def end() -> dict[str, Any]:
    """Leave nothing behind."""
    return {}


if __name__ == "__main__":
    serve(ready, workflow, end)
