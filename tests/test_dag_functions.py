"""``htcmagic.dag()``: functions as nodes, their results as the inputs of later ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import Kernel
from dag_tasks import average, read, refuse, throw, write

from htcmagic import places
from htcmagic.engines.dag.build import Plan, dag
from htcmagic.engines.dag.handle import Dag
from htcmagic.errors import CellError, ResultMissing


@pytest.fixture
def flow(pool: Any, notebook_dir: Path) -> Plan:
    """Begin a DAG whose functions ask for little."""
    return dag("flow", memory="100MB", disk="10MB")


def test_a_plan_shows_itself_before_it_is_sent(flow: Plan) -> None:
    parts = [flow.add(throw, seed, n=50) for seed in range(3)]
    mean = flow.add(average, parts, scale=2)
    also = flow.add(max, mean, 1, name="also")
    said = flow.add("executable = /bin/echo\narguments = $(text)", text="x", name="said", after=also)
    file = flow.add(write, "hello")
    flow.add(read, file, retries=2)
    assert (len(flow), mean.name, parts[1].name, said.name) == (8, "average", "throw1", "said")
    assert flow._repr_html_().count("<g>") == 8
    assert repr(flow) == "<DAG flow: 8 nodes, not sent: .submit()>"
    with pytest.raises(CellError, match="has not run yet"):
        list(mean)


def test_a_workflow_of_functions_and_programs(flow: Plan, kernel: Kernel) -> None:
    parts = [flow.add(throw, seed, n=50) for seed in range(3)]
    mean = flow.add(average, parts, scale=2)
    flow.add(lambda found: found["mean"] + len(found["all"]), {"mean": mean, "all": tuple(parts)}, name="also")
    flow.add("executable = /bin/echo\narguments = $(text)", text="$(HOME) {x} %", name="said", after=mean)
    file = flow.add(write, "hello")
    flow.add(read, file)
    run = flow.submit(maxjobs=4)
    results = run.results(90)
    expected = [throw(seed, n=50) for seed in range(3)]
    assert [results[f"throw{i}"] for i in range(3)] == expected
    assert results["average"] == pytest.approx(2 * sum(expected) / 3)
    assert results["also"] == pytest.approx(results["average"] + 3)
    assert results["read"] == "HELLO"
    assert results["write"].path.read_text() == "hello"
    assert "said" not in results
    assert run.nodes["said"].stdout() == "$(HOME) {x} %\n"
    assert run.nodes["throw1"].stdout() == "seed 1\n"
    assert run.nodes["average"].parents == ["throw0", "throw1", "throw2"]
    assert run.ok
    outcome = kernel.run("import htcmagic; htcmagic.dags('flow')[0].results()['read']")
    assert outcome.error is None, outcome.error
    assert outcome.result == "'HELLO'"


def test_results_travel_where_the_workers_do_not_see_our_files(pool: Any, notebook_dir: Path) -> None:
    flow = dag("copied", memory="100MB", disk="10MB", should_transfer_files="YES")
    mean = flow.add(average, [flow.add(throw, seed) for seed in range(2)])
    flow.add(read, flow.add(write, "far"))
    flow.add(refuse, mean)
    run = flow.submit().wait(90)
    assert run.nodes["average"].result() == pytest.approx(average([throw(0), throw(1)]))
    assert run.nodes["read"].result() == "FAR"
    with pytest.raises(ValueError, match="not "):
        run.nodes["refuse"].result()


def test_a_function_fails_and_is_mended(flow: Plan) -> None:
    first = flow.add(throw, 1)
    bad = flow.add(refuse, first)
    flow.add(average, [first, bad], name="last")
    run = flow.submit().wait(90)
    assert run.states == {"throw": "done", "refuse": "failed", "last": "not run"}
    assert "refuse failed: exit code 1 (ValueError: not " in repr(run)
    with pytest.raises(ValueError, match="not ") as caught:
        run.results()
    assert "dag_tasks.py" in "\n".join(caught.value._render_traceback_())  # type: ignore[attr-defined]
    with pytest.raises(ResultMissing, match="Node last has no result: not run"):
        run.nodes["last"].result()
    with pytest.raises(CellError, match="no node that is left calls throw"):
        run.rescue(throw)

    def mended(value: float) -> float:
        return -value

    mended.__name__ = "refuse"
    results = run.rescue(mended).results(90)
    assert results["refuse"] == -results["throw"]
    assert results["last"] == 0
    assert isinstance(run, Dag)


def test_what_cannot_be_a_node(flow: Plan) -> None:
    step = flow.add(throw, 1)
    for wrong in (
        lambda: flow.add(3),  # type: ignore[arg-type]
        lambda: flow.add(throw, name="two words"),
        lambda: flow.add("executable = /bin/true\nqueue 3"),
        lambda: flow.add("executable = /bin/true", 3),
        lambda: flow.add(throw, 1, after=[3]),  # type: ignore[list-item]
        lambda: flow.add(throw, 1, submit={"request_memry": "1GB"}),
        lambda: dag("x").submit(),
        lambda: flow.submit(maxjobs=0),
        lambda: dag("x", request_memry="2GB"),
    ):
        with pytest.raises(CellError) as caught:
            wrong()
        assert caught.value.message
    program = flow.add("executable = /bin/true")
    flow.add(average, [step, program])
    with pytest.raises(CellError, match="is a program, so it returns nothing"):
        flow.submit()


def test_what_cannot_be_sent_leaves_nothing(flow: Plan) -> None:
    import threading

    before = set(places.runs_dir().iterdir()) if places.runs_dir().exists() else set()
    flow.add(average, threading.Lock())
    with pytest.raises(CellError, match=r"node average (cannot|uses)|which node average"):
        flow.submit()
    other = dag("other")
    stranger = other.add(throw, 1)
    mixed = dag("mixed")
    mixed.add(average, [stranger])
    with pytest.raises(CellError, match="node of another DAG"):
        mixed.submit()
    assert set(places.runs_dir().iterdir()) == before
