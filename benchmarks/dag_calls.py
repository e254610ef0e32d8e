"""A workflow of Python functions on DAGMan, through htcmagic.dag(), in a process of its own."""

from __future__ import annotations

import time
from typing import Any

from worker import serve

_there: dict[str, Any] = {}


def throw(seed):  # noqa: ANN001, ANN201 - as in a notebook, and by value, as it is in __main__
    return seed + 1


def refine(value):  # noqa: ANN001, ANN201
    return 2 * value


def total(values):  # noqa: ANN001, ANN201
    return sum(values)


def ready() -> dict[str, Any]:
    """Import it: not timed with what follows."""
    import htcmagic.engines.dag.assembling  # noqa: PLC0415
    from htcmagic.pool.resolve import connect  # noqa: PLC0415

    _ = connect().schedd  # a notebook has met its pool before
    return {"version": htcmagic.__version__}


def workflow(nodes: int) -> dict[str, Any]:
    """Run a workflow of so many nodes: a first step for each seed, a second for each first, and their sum."""
    import htcmagic  # noqa: PLC0415

    pairs = (nodes - 1) // 2
    began = time.perf_counter()
    flow = htcmagic.dag("bench", memory="64MB", disk="10MB")
    firsts = [flow.add(throw, seed) for seed in range(pairs)]
    flow.add(total, [flow.add(refine, each) for each in firsts])
    run = flow.submit()
    sent = time.perf_counter() - began
    result = run.results(600)["total"]
    seconds = time.perf_counter() - began
    assert result == pairs * (pairs + 1)
    return {"seconds": seconds, "sent": sent}


def end() -> dict[str, Any]:
    """Leave nothing behind."""
    return {}


if __name__ == "__main__":
    serve(ready, workflow, end)
