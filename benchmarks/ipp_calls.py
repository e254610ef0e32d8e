"""ipyparallel's cluster with a template for HTCondor, in a process of its own."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from worker import serve

_there: dict[str, Any] = {}
TEMPLATE = """\
universe = vanilla
executable = {python}
arguments = "-m ipyparallel.engine --profile-dir='{{profile_dir}}' --cluster-id='{{cluster_id}}'"
getenv = True
request_memory = 150MB
request_disk = 50MB
log = engines.log
queue {{n}}
"""
"""The stock one is held: its executable is no path, and it queues one."""


def double(x):  # noqa: ANN001, ANN201 - as in a notebook
    return 2 * x


def ready() -> dict[str, Any]:
    """Import it: not timed with what follows."""
    import ipyparallel  # noqa: PLC0415

    return {"version": ipyparallel.__version__}


def start(workers: int) -> None:
    """Send its engines; ipyparallel waits for all."""
    import ipyparallel  # noqa: PLC0415
    from traitlets.config import Config  # noqa: PLC0415

    config = Config()
    config.HTCondorEngineSetLauncher.batch_template = TEMPLATE.format(python=sys.executable)
    cluster = ipyparallel.Cluster(
        engines="htcondor",
        n=workers,
        profile_dir=str(Path(f"profile-{time.time_ns()}").absolute()),
        log_level=40,
        config=config,
    )
    take(cluster.start_and_connect_sync())


def take(client: Any) -> None:
    """Keep a client and its view."""
    _there.update(client=client, view=client.load_balanced_view())


def cold(calls: int, workers: int) -> dict[str, Any]:
    """Have nothing, then all results."""
    began = time.perf_counter()
    start(workers)
    view = _there["view"]
    results = [one.get(120) for one in [view.apply_async(double, n) for n in range(calls)]]
    seconds = time.perf_counter() - began
    assert results == [2 * n for n in range(calls)]
    return {"seconds": seconds}


def warm(calls: int) -> dict[str, Any]:
    """Call with warm workers: call by call."""
    view = _there["view"]
    began = time.perf_counter()
    results = [one.get(120) for one in [view.apply_async(double, n) for n in range(calls)]]
    seconds = time.perf_counter() - began
    assert results[-1] == 2 * calls - 2
    return {"submit": seconds, "map": seconds}


def end() -> dict[str, Any]:
    """Leave nothing behind."""
    client = _there["client"]
    client.cluster.stop_cluster_sync()
    client.close()
    return {}


if __name__ == "__main__":
    serve(ready, cold, warm, end)
