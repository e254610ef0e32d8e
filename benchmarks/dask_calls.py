"""dask-jobqueue's HTCondorCluster, in a process of its own."""

from __future__ import annotations

import time
from typing import Any

from worker import serve

_there: dict[str, Any] = {}


def double(x):  # noqa: ANN001, ANN201 - as in a notebook, and by value, as it is in __main__
    return 2 * x


def blob(size):  # noqa: ANN001, ANN201
    return bytes(size)


def ready() -> dict[str, Any]:
    """Import it: not timed with what follows."""
    import dask_jobqueue  # noqa: PLC0415
    import distributed  # noqa: PLC0415

    return {"version": f"{dask_jobqueue.__version__} (distributed {distributed.__version__})"}


def start(workers: int) -> None:
    """Send its workers: as many jobs, of one thread each."""
    from dask_jobqueue import HTCondorCluster  # noqa: PLC0415
    from distributed import Client  # noqa: PLC0415

    cluster = HTCondorCluster(cores=1, memory="512MB", disk="50MB", log_directory=".")
    cluster.scale(jobs=workers)
    _there.update(cluster=cluster, client=Client(cluster))


def cold(calls: int, workers: int) -> dict[str, Any]:
    """Have nothing, then all results."""
    began = time.perf_counter()
    start(workers)
    client = _there["client"]
    results = client.gather(client.map(double, range(calls), pure=False))
    seconds = time.perf_counter() - began
    assert results == [2 * n for n in range(calls)]
    return {"seconds": seconds}


def warm(calls: int) -> dict[str, Any]:
    """Call with warm workers: call by call, then all at once. Without its cache of equal calls (`pure`)."""
    client = _there["client"]
    began = time.perf_counter()
    results = client.gather([client.submit(double, n, pure=False) for n in range(calls)])
    each = time.perf_counter() - began
    assert results[-1] == 2 * calls - 2
    began = time.perf_counter()
    client.gather(client.map(double, range(calls), pure=False))
    return {"submit": each, "map": time.perf_counter() - began}


def large(calls: int, size: int) -> dict[str, Any]:
    """Get large results, one after the other."""
    client = _there["client"]
    began = time.perf_counter()
    futures = client.map(blob, [size] * calls, pure=False)
    while futures:
        assert len(futures.pop(0).result(120)) == size
    return {"seconds": time.perf_counter() - began}


def end() -> dict[str, Any]:
    """Leave nothing behind."""
    _there["client"].close()
    _there["cluster"].close()
    return {}


if __name__ == "__main__":
    serve(ready, cold, warm, large, end)
