"""Parsl, configured by htcmagic.engines, in a process of its own; the same otherwise as parsl_calls."""

from __future__ import annotations

import time
from typing import Any

import parsl_calls
from parsl_calls import cold, end, warm
from trials import trials
from worker import serve


def double(x):  # noqa: ANN001, ANN201 - as in a notebook, and by value, as it is in __main__
    return 2 * x


def ready() -> dict[str, Any]:
    """Import it: not timed with what follows."""
    import htcmagic.engines.parsl_config  # noqa: PLC0415
    from htcmagic.pool.resolve import connect  # noqa: PLC0415

    _ = connect().schedd  # a notebook has met its pool before
    htcmagic.engines.parsl_config.needed("parsl")
    return parsl_calls.ready()


def start(workers: int) -> None:
    """Send its pilots."""
    import parsl  # noqa: PLC0415

    import htcmagic.engines  # noqa: PLC0415

    config = htcmagic.engines.parsl(
        workers,
        min_blocks=workers,
        memory_gb=0.5,
        run_dir=f"parsl-{time.time_ns()}",
        strategy="none",
        initialize_logging=False,
    )
    parsl.load(config)
    parsl_calls._app["double"] = parsl.python_app(double)  # noqa: SLF001


def call(function: Any, *arguments: Any) -> Any:
    """Call a function."""
    import parsl  # noqa: PLC0415

    return parsl.python_app(function)(*arguments).result


parsl_calls.start = start

if __name__ == "__main__":
    serve(ready, cold, warm, end, *trials(call))
