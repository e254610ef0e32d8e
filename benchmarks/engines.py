"""Engines through htcmagic.engines, beside the same engines configured by hand; DAGs beside condor_submit_dag's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from functions import Times
from report import Row

if TYPE_CHECKING:
    from cases import Size
    from pool import Bench

BOUND = 1.05
CALLS, WORKERS = 1000, 2
ENGINES = {"parsl_calls": "Parsl", "dask_calls": "Dask", "ipp_calls": "ipyparallel"}
NODES, NODES_BOUND = 500, 1.2


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


def workflow(bench: Bench, size: Size) -> list[Row]:
    """Run a DAG of function nodes, by turns ours and one written by hand."""
    nodes = NODES * size.jobs // 10_000
    times: Times = {"seconds": {}, "sent": {}}
    for _ in range(size.few):
        for who in ("dag_calls", "dag_by_hand"):
            bench.rest()
            with bench.ours(who) if who == "dag_calls" else bench.peers(who) as worker:
                worker.do("ready")
                measured = worker.do("workflow", nodes=nodes)
                for name, found in times.items():
                    found.setdefault(who, []).append(float(measured[name]))
    ours, peer = ({name: tuple(found[who]) for name, found in times.items()} for who in ("dag_calls", "dag_by_hand"))
    what = f"a DAG of {nodes:,} function nodes"
    return [
        Row(f"{what}, to its result | by hand, condor_submit_dag", ours["seconds"], peer["seconds"], bound=NODES_BOUND),
        Row(f"{what}, until it is sent | by hand, condor_submit_dag", ours["sent"], peer["sent"]),
    ]
