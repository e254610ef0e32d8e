"""DAGs when something goes wrong: kernel or schedd killed, hostile names, files within files."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dags
import pytest
from conftest import Kernel

from htcmagic.engines.dag.handle import Dag
from htcmagic.errors import CellError, HTCMagicError
from htcmagic.pool.client import client

pytestmark = pytest.mark.slow

SLOW = "SUBMIT-DESCRIPTION s {\n executable = /bin/sleep\n arguments = $(t)\n}\n"


def test_a_dag_survives_its_kernel(start_kernel: Callable[[], Kernel]) -> None:
    first, second = start_kernel(), start_kernel()
    cell = SLOW + dags.echo("a", "c") + 'JOB b s\nVARS b t="4"\nPARENT a CHILD b\nPARENT b CHILD c\n'
    outcome = first.run(f"%%condor_dag --name survivor\n{cell}")
    assert outcome.error is None, outcome.error
    os.kill(int(first.run("import os; os.getpid()").result), signal.SIGKILL)
    found = second.run(
        "dag = %condor_dag survivor\ndag.wait(60)\nprint(dag.ok, dag.states)\nprint(dag.nodes['a'].stdout())"
    )
    assert found.error is None, found.error
    assert found.text == "True {'a': 'done', 'c': 'done', 'b': 'done'}\na\n\n"
    listed = second.run("%condor_jobs survivor")
    assert "survivor (" in listed.result


def test_a_dag_survives_the_schedd(pool: Any, notebook_dir: Path) -> None:
    text = SLOW + 'JOB a s\nJOB b s\nVARS ALL_NODES t="3"\nPARENT a CHILD b\n'
    dag = dags.sent(text)
    _until(dag, lambda: dag.states["a"] == "running")
    os.kill(_schedd(), signal.SIGKILL)
    dag.wait(90)
    assert dag.states == {"a": "done", "b": "done"}
    assert dag.ok


def _schedd() -> int:
    """Return the process id of the tests' schedd."""
    from htcmagic import places

    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes()
                env = (entry / "environ").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if b"condor_schedd" in words and f"CONDOR_CONFIG={places.pool_dir()}/" in env:
                return int(entry.name)
    pytest.fail("there is no schedd")


def test_hostile_names_do_no_harm(kernel: Kernel) -> None:
    nasty = "<img/src=x/onerror=alert(1)>&amp;"
    cell = (
        dags.echo(nasty, "b") + f"PARENT {nasty} CHILD b\n" + dags.shell("c", "echo \x1b[31m'<script>'bad >&2; exit 2")
    )
    cell = cell.replace("'<script>'bad", "\\<script\\>bad")
    outcome = kernel.run(f"%%condor_dag -o d --name '<b>bold</b>'\n{cell}")
    assert outcome.error is None, outcome.error
    waited = kernel.run("d.wait(60)")
    assert waited.error is None, waited.error
    for data in [*outcome.data, *waited.data, *waited.updates]:
        for bad in ("<img", "<script", "<b>bold", "&amp;lt;img"):
            assert bad not in data["text/html"]
        assert "\x1b" not in data["text/html"] + data["text/plain"]
    said = kernel.run(f"d.nodes[{nasty!r}].stdout()")
    assert nasty in said.result
    slip = kernel.run("d.nodes['x']")
    assert slip.error is not None
    assert slip.error[2] == "NoSuchJob: The DAG has no node x."


def test_a_description_that_cannot_be_sent_is_told(pool: Any, notebook_dir: Path) -> None:
    dag = dags.sent(dags.echo("a", "b", arguments='x"y z"') + "PARENT a CHILD b\n").wait(60)
    assert dag.states == {"a": "failed", "b": "not run"}
    assert "not submitted" in dag.nodes["a"].error
    assert "double-quote" in repr(dag)


def test_dags_in_dags_and_splices(pool: Any, notebook_dir: Path) -> None:
    (notebook_dir / "in.sub").write_text("executable = /bin/echo\narguments = in $(JOB)\n")
    (notebook_dir / "inner.dag").write_text("JOB x in.sub\nJOB y in.sub\nPARENT x CHILD y\n")
    text = (
        dags.echo("a")
        + "SPLICE in inner.dag\nSUBDAG EXTERNAL whole inner.dag\nPARENT a CHILD in\nPARENT in CHILD whole\n"
    )
    dag = dags.sent(text).wait(90)
    assert dag.states == dict.fromkeys(["a", "in+x", "in+y", "whole"], "done")
    (notebook_dir / "in.sub").write_text("executable = /bin/echo\narguments = $(who)\n")
    with pytest.raises(CellError, match=r"\$\(who\) is not defined"):
        dags.prepared(text, {"who": "me"})


def test_a_held_node_says_why(pool: Any, notebook_dir: Path) -> None:
    dag = dags.sent(SLOW + 'JOB a s\nVARS a t="2"\n')
    _until(dag, lambda: dag.states["a"] == "running")
    client(pool).act("Hold", f"ClusterId == {dag.nodes['a'].id}", "<i>not</i> now")
    _until(dag, lambda: dag.states["a"] == "held")
    hold = dag.nodes["a"].hold
    assert hold is not None
    assert "<i>not</i> now" in hold.reason
    assert "a held: " in repr(dag)
    assert dag.rm() == 1
    dag.wait(60)
    assert dag.states["a"] == "failed"
    assert dag.rescue().wait(60).states == {"a": "done"}


def test_a_dag_whose_file_is_gone_is_told(pool: Any, notebook_dir: Path) -> None:
    path = notebook_dir / "gone.dag"
    path.write_text(dags.echo("a"))
    dag = dags.sent(path.read_text(), file=path, name="gone").wait(60)
    path.unlink()
    with pytest.raises(HTCMagicError, match="cannot be read any more"):
        dag.graph()


def _until(dag: Dag, true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline, dag
        assert not dag.over, dag
        time.sleep(0.05)
