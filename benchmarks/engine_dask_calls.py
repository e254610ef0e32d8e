"""Dask, configured by htcmagic.engines, in a process of its own; the same otherwise as dask_calls."""

from __future__ import annotations

from typing import Any

import dask_calls
from dask_calls import cold, end, warm
from trials import trials
from worker import serve


def double(x):  # noqa: ANN001, ANN201 - as in a notebook, and by value, as it is in __main__
    return 2 * x


def ready() -> dict[str, Any]:
    """Import it: not timed with what follows."""
    import htcmagic.engines.dask_cluster  # noqa: F401, PLC0415
    from htcmagic.pool.resolve import connect  # noqa: PLC0415

    _ = connect().schedd  # a notebook has met its pool before
    return dask_calls.ready()


def start(workers: int) -> None:
    """Send its workers."""
    import htcmagic.engines  # noqa: PLC0415

    cluster = htcmagic.engines.dask(workers, memory="512MB", disk="50MB")
    dask_calls._there.update(cluster=cluster, client=cluster.client)  # noqa: SLF001


def call(function: Any, *arguments: Any) -> Any:
    """Call a function."""
    return dask_calls._there["client"].submit(function, *arguments, pure=False).result  # noqa: SLF001


dask_calls.start = start
dask_calls.double = double

if __name__ == "__main__":
    serve(ready, cold, warm, end, *trials(call))
