"""Engines through htcmagic.engines, beside the same engines configured by hand: first result, and warm calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from functions import Times
from report import Row

if TYPE_CHECKING:
    from cases import Size
    from pool import Bench

BOUND = 1.05
CALLS, WORKERS = 1000, 2
ENGINES = {"parsl_calls": "Parsl", "dask_calls": "Dask"}


def calls(bench: Bench, size: Size) -> list[Row]:
    """Start each, by turns ours and by hand, and call a trivial function."""
    rows = []
    for program, name in ENGINES.items():
        times: Times = {}
        for _ in range(size.few):
            for who in (f"engine_{program}", program):
                for measure, seconds in life(bench, who).items():
                    times.setdefault(measure, {}).setdefault(who, []).extend(seconds)
        for measure, what in (("first", "first result from nothing"), ("warm", f"{CALLS:,} warm calls")):
            ours, peer = (tuple(times[measure][who]) for who in (f"engine_{program}", program))
            rows.append(Row(f"{name} through us, {what} | configured by hand", ours, peer, bound=BOUND))
    return rows


def life(bench: Bench, who: str) -> dict[str, list[float]]:
    """Let one of them start, give its first result, and go on with warm workers."""
    bench.rest()
    with bench.ours(who) if who.startswith("engine_") else bench.peers(who) as worker:
        worker.do("ready")
        found = {"first": [float(worker.do("cold", calls=1, workers=WORKERS)["seconds"])]}
        worker.do("warm", calls=CALLS)  # until all workers are there
        found["warm"] = [float(worker.do("warm", calls=CALLS)["submit"]) for _ in range(3)]
        worker.do("end")
    return found


if __name__ == "__main__":
    from cases import QUICK
    from pool import bench as pool
    from report import table

    with pool() as here:
        print(table(calls(here, QUICK)))
