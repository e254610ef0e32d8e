"""Our functions in jobs, in a process of its own: the same orders as the peers understand."""

from __future__ import annotations

import time
from typing import Any

from ours import latency, load, shell
from trials import trials
from worker import serve

_there: dict[str, Any] = {}


def double(x):  # noqa: ANN001, ANN201 - as in a notebook, and by value, as it is in __main__
    return 2 * x


def blob(size):  # noqa: ANN001, ANN201
    return bytes(size)


def ready() -> dict[str, Any]:
    """Import it: not timed with what follows."""
    import htcmagic  # noqa: PLC0415

    return {"version": htcmagic.__version__}


def cold(calls: int, workers: int) -> dict[str, Any]:  # noqa: ARG001 - it finds out for itself how many
    """Have nothing, then all results."""
    import htcmagic  # noqa: PLC0415

    began = time.perf_counter()
    results = list(htcmagic.map(double, range(calls)))
    seconds = time.perf_counter() - began
    assert results == [2 * n for n in range(calls)]
    return {"seconds": seconds}


def first(workers: int) -> dict[str, Any]:
    """Have nothing, then an executor's first result."""
    import htcmagic  # noqa: PLC0415

    began = time.perf_counter()
    _there["executor"] = executor = htcmagic.Executor(workers=workers)
    assert executor.submit(double, 1).result(120) == 2
    return {"seconds": time.perf_counter() - began}


def warm(calls: int) -> dict[str, Any]:
    """Call with warm workers: call by call, then all at once."""
    executor = _there["executor"]
    began = time.perf_counter()
    results = [future.result(120) for future in [executor.submit(double, n) for n in range(calls)]]
    each = time.perf_counter() - began
    assert results[-1] == 2 * calls - 2
    began = time.perf_counter()
    assert list(executor.map(double, range(calls), timeout=120))[-1] == 2 * calls - 2
    return {"submit": each, "map": time.perf_counter() - began}


def large(calls: int, size: int) -> dict[str, Any]:
    """Get large results, one after the other."""
    executor = _there["executor"]
    began = time.perf_counter()
    futures = [executor.submit(blob, size) for _ in range(calls)]
    while futures:
        assert len(futures.pop(0).result(120)) == size
    return {"seconds": time.perf_counter() - began}


def end() -> dict[str, Any]:
    """Leave nothing behind."""
    if "executor" in _there:
        _there.pop("executor").shutdown()
    return {}


def cell() -> dict[str, Any]:
    """Send a cell that does nothing and wait for its result."""
    started = shell()
    began = time.perf_counter()
    started.run_cell("%%condor_python -o got\n1 + 1").raise_error()
    assert started.user_ns["got"].results() == [2]
    return {"seconds": time.perf_counter() - began}


def call(function: Any, *arguments: Any) -> Any:
    """Call a function: a worker's if there are any, else a job's of its own."""
    import htcmagic  # noqa: PLC0415

    if "executor" in _there:
        return _there["executor"].submit(function, *arguments).result
    return htcmagic.map(function, *([each] for each in arguments)).futures[0].result


if __name__ == "__main__":
    serve(ready, cold, first, warm, large, end, load, latency, cell, *trials(call))
