"""``%%condor_dag`` on the real pool: what the cell reads, what it prints, what came of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dags
import pytest
from conftest import Kernel

from htcmagic import places
from htcmagic.engines.dag.handle import dags as find
from htcmagic.errors import CellError, HTCMagicError, ResultMissing

DIAMOND = dags.echo("a", "b", "c", "d") + "PARENT a CHILD b c\nPARENT b c CHILD d\n"


def test_a_cell_is_run_and_drawn(kernel: Kernel) -> None:
    kernel.run('greeting = "hello there"')
    cell = dags.echo("first", "second", arguments="$(greeting) from $(JOB) $(own)")
    cell += 'VARS ALL_NODES own="mine"\nPARENT first CHILD second\n'
    outcome = kernel.run(f"%%condor_dag --name demo -o demo\n{cell}")
    assert outcome.error is None, outcome.error
    assert outcome.text == "$(greeting) = hello there (from the notebook)\n"
    assert re.fullmatch(r"demo \(\d+\): 2 nodes: 2 waiting, \d s", outcome.result)
    assert outcome.data[-1]["text/html"].count("<g>") == 2
    waited = kernel.run("demo.wait(60)")
    assert waited.error is None, waited.error
    assert "2 nodes: 2 done" in waited.result
    assert any("1 done" in update["text/plain"] for update in waited.updates)
    said = kernel.run("print([demo.nodes[n].stdout() for n in demo.nodes], demo.states, demo.ok)")
    assert said.text == (
        "['hello there from first mine\\n', 'hello there from second mine\\n'] "
        "{'first': 'done', 'second': 'done'} True\n"
    )
    listed = kernel.run("%condor_dag")
    assert listed.result.startswith("demo (")
    assert kernel.run("%condor_dag demo").result.startswith("demo (")
    nobody = kernel.run("%condor_dag nobody")
    assert nobody.error is not None
    assert nobody.error[2] == "HTCMagicError: There is no DAG nobody of yours.\nList them: %condor_dag"


def test_a_dry_run_sends_nothing(kernel: Kernel) -> None:
    runs = set(places.runs_dir().iterdir()) if places.runs_dir().exists() else set()
    outcome = kernel.run(f"%%condor_dag --dry-run\n{DIAMOND}")
    assert outcome.error is None, outcome.error
    assert outcome.text.startswith("# Nothing was sent. 4 nodes in 3 layers: a → b, c → d\nSUBMIT-DESCRIPTION echo {\n")
    assert set(places.runs_dir().iterdir()) == runs


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        (DIAMOND + "PARENT d CHILD a", "CellError: line 11: the graph goes in a circle: a → "),
        (DIAMOND + "PARENT d CHILD x", "CellError: line 11: PARENT names x, and there is no such node."),
        ("JOB a a.sub", "CellError: line 1: the submit file a.sub does not exist."),
        ("JOB a {\nexecutable = /bin/nothing\n}", "CellError: line 2: the executable /bin/nothing does not exist."),
        ("JOB a {\n\nexecutable /bin/echo\n}", "CellError: line 3: executable /bin/echo is not of the form"),
        ("JOB a {\nexecutable = /bin/echo\n\narguments = $(x)\n}", "CellError: line 4: the macro $(x) is not defined."),
        (
            dags.echo("a", arguments="$(table)"),
            "CellError: line 3: the macro $(table) is not defined, and the notebook",
        ),
        (DIAMOND + "ABORT-DAG-ON a", "CellError: line 11: ABORT-DAG-ON: "),
        (DIAMOND + "MAXJOBS c 0", "CellError: line 11: MAXJOBS c 0: no node of that category would ever run."),
        ("# nothing", "CellError: there is no node."),
    ],
)
def test_what_is_wrong_is_said_before_it_is_sent(shared: Kernel, cell: str, says: str) -> None:
    outcome = shared.run(f"%%condor_dag\n{cell}")
    assert outcome.error is not None, outcome.result
    assert outcome.error[2].startswith(says)
    assert len(outcome.error[2].splitlines()) <= 2


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("--maxjobs 0", "-maxjobs 0: at least 1; leave it out for no limit."),
        ("-MaxJobs 0", "-maxjobs 0: at least 1; leave it out for no limit."),
        ("-o 3x", "-o 3x: not a Python name."),
        ("demo", "%%condor_dag demo: the DAG is the cell. A name: --name demo"),
        ("--nothing", "has no option --nothing"),
    ],
)
def test_options_that_cannot_be(shared: Kernel, line: str, says: str) -> None:
    outcome = shared.run(f"%%condor_dag {line}\n{DIAMOND}")
    assert outcome.text.startswith("UsageError: ")
    assert says in outcome.text


@pytest.fixture(scope="module")
def shared(pool: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Start one kernel for all tests that send nothing."""
    started = Kernel(tmp_path_factory.mktemp("shared"))
    started.run("%load_ext htcmagic\ntable = [1]")
    yield started
    started.stop()


def test_a_file_is_run_as_condor_submit_dag_runs_it(kernel: Kernel, notebook_dir: Path) -> None:
    (notebook_dir / "fit.sub").write_text("executable = /bin/sh\narguments = \"-c 'test -e ok'\"\nqueue\n")
    (notebook_dir / "fit.dag").write_text(dags.echo("a") + "JOB b fit.sub\nPARENT a CHILD b\n")
    outcome = kernel.run("%condor_submit_dag fit.dag -maxjobs 5 -o fit\nfit.wait(60)\nfit")
    assert outcome.error is None, outcome.error
    assert "fit.dag (" in outcome.result
    assert "b failed: exit code 1; Run what is left, with 1 done: .rescue()" in outcome.result
    assert sorted(path.name for path in notebook_dir.glob("fit.dag*")) == [
        "fit.dag",
        "fit.dag.metrics",
        "fit.dag.rescue001",
    ]
    (notebook_dir / "ok").touch()
    again = kernel.run("%condor_submit_dag fit.dag -o fit\nprint(fit.states)\nfit.wait(60)\nfit")
    assert again.error is None, again.error
    assert again.text.startswith("Resumed from fit.dag.rescue001: 1 of 2 nodes are done.\n{'a': 'done'")
    assert "2 nodes: 2 done" in again.result
    nothing = kernel.run("%condor_submit_dag nothing.dag")
    assert nothing.text.startswith("UsageError: There is no file nothing.dag in ")


def test_every_job_carries_our_attribute(pool: Any, notebook_dir: Path, real: Callable[..., Any]) -> None:
    dag = dags.sent(DIAMOND, name="marked").wait(60)
    said = real("condor_history", "-constraint", f'HtcmagicDag == "{dag.run_dir.run}"', "-af", "JobBatchName").stdout
    assert said.split() == ["marked"] * 5


def test_the_node_log_is_none_that_dagman_refuses(pool: Any, notebook_dir: Path) -> None:
    assert places.home().is_relative_to("/tmp")
    dag = dags.sent(dags.echo("a")).wait(60)
    assert dag.ok
    assert not dag.record.node_log.startswith("/tmp")


def test_a_node_that_fails_and_its_rescue(pool: Any, notebook_dir: Path) -> None:
    text = dags.echo("a", "c") + dags.shell("b", "echo no >&2; test -e mended")
    dag = dags.sent(text + "RETRY b 1\nPARENT a CHILD b\nPARENT b CHILD c\n", name="mend").wait(60)
    assert dag.states == {"a": "done", "c": "not run", "b": "failed"}
    assert (dag.nodes["b"].tries, dag.nodes["b"].exit_code, dag.nodes["b"].error) == (2, 1, "exit code 1")
    assert dag.nodes["b"].stderr() == "no\n"
    assert repr(dag).endswith("b failed: exit code 1 (no); Run what is left, with 1 done: .rescue()")
    first = dag.id
    Path("mended").touch()
    assert dag.rescue().wait(60) is dag
    assert (dag.ok, set(dag.states.values()), dag.id != first) == (True, {"done"}, True)
    assert dag.nodes["a"].stdout() == "a\n"  # it ran in the first try
    assert dag.nodes["c"].stdout() == "c\n"
    assert dag.tracker.before == {"a"}
    with pytest.raises(HTCMagicError, match="nothing to resume"):
        dag.rescue()
    assert [found.id for found in find("mend")] == [dag.id]


def test_scripts_are_states_of_a_node(pool: Any, notebook_dir: Path) -> None:
    text = dags.echo("a", "b", "c") + "SCRIPT PRE a /bin/sleep 0.1\nSCRIPT POST a /bin/false\n"
    text += "SCRIPT POST b /bin/true\nSCRIPT PRE c /bin/false\n"
    dag = dags.sent(text).wait(60)
    assert dag.states == {"a": "failed", "b": "done", "c": "failed"}
    assert dag.nodes["a"].error == "its POST script: exit code 1"
    assert "PRE script" in dag.nodes["c"].error.replace("Script", "script")


def test_throttle_halt_resume_rm(pool: Any, notebook_dir: Path) -> None:
    names = [f"n{i}" for i in range(6)]
    head = "SUBMIT-DESCRIPTION s {\n executable = /bin/sleep\n arguments = $(t)\n}\n"
    text = head + "".join(f'JOB {name} s\nVARS {name} t="{0.5 if name != "n5" else 300}"\n' for name in names)
    dag = dags.sent(text, limits={"MaxJobs": 1})
    for wrong in ({"maxjobs": 0}, {"maxidle": -1}, {"maxpre": True}, {}):
        with pytest.raises(CellError) as caught:
            dag.throttle(**wrong)
        assert caught.value.hint
    _until(dag, lambda: "done" in dag.states.values())
    dag.halt()
    assert "halted: .resume()" in repr(dag)
    _until(dag, lambda: not {"running", "idle"} & set(dag.states.values()))
    assert dag.status["waiting"] >= 1
    with pytest.raises(HTCMagicError, match="still runs"):
        dag.rescue()
    dag.throttle(maxjobs=6)
    dag.resume()
    _until(dag, lambda: dag.status["done"] == 5 and dag.states["n5"] == "running")
    assert dag.rm() == 1
    dag.wait(60)
    assert dag.states["n5"] == "failed"
    assert dag.nodes["n5"].error == "removed with the DAG"
    assert "DAGMan was removed; Run what is left, with 5 done: .rescue()" in repr(dag)
    with pytest.raises(HTCMagicError, match="has ended"):
        dag.halt()
    with pytest.raises(ResultMissing, match="programs"):
        dag.results()


def _until(dag: Any, true: Callable[[], bool]) -> None:
    import time

    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline, dag
        assert not dag.over, dag
        time.sleep(0.05)
