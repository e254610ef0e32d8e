"""``%condor_engines``: everything that runs under any engine in one table, and one line that stops it."""

from __future__ import annotations

import pytest
from engines import quiet
from pools import eventually

pytestmark = pytest.mark.slow

DAG = """\
%%condor_dag -o d --name steps
JOB A {
    executable = /bin/sleep
    arguments = 60
    request_memory = 16MB
}
JOB B {
    executable = /bin/true
}
PARENT A CHILD B
"""


def test_nothing_runs(kernel):
    assert kernel.run("%condor_engines").result == "Nothing runs under Parsl, Dask, ipyparallel or DAGMan."
    assert kernel.run("%condor_engines --stop all").text == "There is nothing to stop.\n"
    wrong = kernel.run("%condor_engines --stop parsl-12345678")
    assert wrong.error[2] == "NoSuchJob: There is no engine parsl-12345678.\nNothing runs."


def test_a_dag_and_a_dask_cluster_in_one_table(kernel, real):
    sent = kernel.run(DAG)
    assert sent.error is None, sent.error[2]
    started = kernel.run(
        "import htcmagic\ncluster = htcmagic.engines.dask(1, memory='250MB', disk='50MB', label='fit')"
    )
    assert started.error is None, started.error[2]
    name = kernel.run("print(f'dag-{d.id}')").text.strip()
    eventually(lambda: kernel.run("%condor_engines").result.count(" 1 ") >= 2, 30)
    table = kernel.run("engines = %condor_engines\nengines").result
    assert name in table
    assert "steps" in table
    assert "fit" in table
    rows = kernel.run("print([(r['NAME'], r['STOP']) for r in engines])").text
    assert f"('steps', '%condor_engines --stop {name}')" in rows
    only = kernel.run(f"%condor_engines {name}").result
    assert "fit" not in only
    assert f"{name} stopped, " in kernel.run(f"%condor_engines --stop {name}").text
    eventually(lambda: name not in kernel.run("%condor_engines").result, 30)
    assert "1 job removed" in kernel.run("%condor_engines --stop all").text
    assert quiet(real)
    assert kernel.run("print(cluster.status.name)").text == "closed\n"


def test_names_of_others_do_no_harm(kernel, real, tmp_path):
    described = tmp_path / "job.sub"
    described.write_text(
        'executable = /bin/sleep\narguments = 60\n+HtcmagicEngine = "x<script>alert(1)</script>\\u001b[31m"\n'
        '+HtcmagicEngineLabel = "<b>&"\nrequest_memory = 16MB\nqueue\n'
    )
    real("condor_submit", str(described))
    shown = kernel.run("%condor_engines")
    assert shown.error is None
    assert "\x1b" not in shown.result
    assert "<script>" not in shown.data[-1]["text/html"]
    assert "1 job removed" in kernel.run("%condor_engines --stop all").text
    assert quiet(real)
