"""ipyparallel, configured by htcmagic.engines, in a process of its own; the same otherwise as ipp_calls."""

from __future__ import annotations

from typing import Any

import ipp_calls
from ipp_calls import cold, end, warm
from trials import trials
from worker import serve


def double(x):  # noqa: ANN001, ANN201 - as in a notebook
    return 2 * x


def ready() -> dict[str, Any]:
    """Import it: not timed with what follows."""
    import htcmagic.engines.ipp  # noqa: F401, PLC0415
    from htcmagic.pool.resolve import connect  # noqa: PLC0415

    _ = connect().schedd  # a notebook has met its pool before
    return ipp_calls.ready()


def start(workers: int) -> None:
    """Send its engines."""
    import htcmagic.engines  # noqa: PLC0415

    ipp_calls.take(htcmagic.engines.ipyparallel(workers, memory="150MB", disk="50MB"))


def call(function: Any, *arguments: Any) -> Any:
    """Call a function."""
    return ipp_calls._there["view"].apply_async(function, *arguments).get  # noqa: SLF001


ipp_calls.start = start
ipp_calls.double = double

if __name__ == "__main__":
    serve(ready, cold, warm, end, *trials(call))
