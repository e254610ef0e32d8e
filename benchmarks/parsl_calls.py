"""Parsl's HighThroughputExecutor on its CondorProvider, in a process of its own."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from worker import serve

_app: dict[str, Any] = {}


def double(x):  # noqa: ANN001, ANN201 - as in a notebook, and by value, as it is in __main__
    return 2 * x


def blob(size):  # noqa: ANN001, ANN201
    return bytes(size)


def ready() -> dict[str, Any]:
    """Import it: not timed with what follows."""
    import parsl  # noqa: PLC0415

    return {"version": parsl.__version__}


def start(workers: int) -> None:
    """Send its pilots: as many jobs, of one worker each."""
    import parsl  # noqa: PLC0415
    from parsl.executors import HighThroughputExecutor  # noqa: PLC0415
    from parsl.providers import CondorProvider  # noqa: PLC0415

    provider = CondorProvider(
        init_blocks=workers,
        min_blocks=workers,
        max_blocks=workers,
        cores_per_slot=1,
        mem_per_slot=0.5,
        worker_init=f"export PATH={Path(sys.executable).parent}:$PATH",
    )
    executor = HighThroughputExecutor(
        address="127.0.0.1",
        loopback_address="127.0.0.1",
        encrypted=False,
        max_workers_per_node=1,
        provider=provider,
    )
    folder = Path(f"parsl-{os.getpid()}-{time.time_ns()}").absolute()
    parsl.load(parsl.Config(executors=[executor], run_dir=str(folder), strategy="none", initialize_logging=False))
    for function in (double, blob):
        _app[function.__name__] = parsl.python_app(function)


def cold(calls: int, workers: int) -> dict[str, Any]:
    """Have nothing, then all results."""
    began = time.perf_counter()
    start(workers)
    results = [future.result(120) for future in [_app["double"](n) for n in range(calls)]]
    seconds = time.perf_counter() - began
    assert results == [2 * n for n in range(calls)]
    return {"seconds": seconds}


def warm(calls: int) -> dict[str, Any]:
    """Call with warm workers."""
    began = time.perf_counter()
    results = [future.result(120) for future in [_app["double"](n) for n in range(calls)]]
    seconds = time.perf_counter() - began
    assert results[-1] == 2 * calls - 2
    return {"submit": seconds, "map": seconds}


def large(calls: int, size: int) -> dict[str, Any]:
    """Get large results, one after the other."""
    began = time.perf_counter()
    futures = [_app["blob"](size) for _ in range(calls)]
    while futures:
        assert len(futures.pop(0).result(120)) == size
    return {"seconds": time.perf_counter() - began}


def end() -> dict[str, Any]:
    """Leave nothing behind."""
    import parsl  # noqa: PLC0415

    parsl.dfk().cleanup()
    parsl.clear()
    return {}


if __name__ == "__main__":
    serve(ready, cold, warm, large, end)
