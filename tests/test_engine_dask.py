"""Dask through htcmagic.engines: dask-jobqueue's own cluster, words quoted right, workers that fail explained."""

from __future__ import annotations

import json
import os
import signal
import urllib.request

import pytest
from engines import left_of, quiet, value
from pools import eventually

pytestmark = pytest.mark.slow

CLUSTER = "cluster = htcmagic.engines.dask(memory='250MB', disk='50MB', {})"


def begin(kernel, options="workers=1"):
    outcome = kernel.run(f"import json, htcmagic\n{CLUSTER.format(options)}", 90)
    assert outcome.error is None, outcome.error[2]
    return outcome


def end(kernel, real):
    kernel.run("cluster.close()", 60)
    eventually(lambda: quiet(real), 15)


def test_a_stock_cluster_that_runs_as_it_is(kernel, real):
    shown = begin(kernel, "workers=1, ProjectName='OSG-Staff', requirements='Memory > 1', label='fit'")
    assert "Dask dask-" in shown.result
    assert value(kernel, "cluster.client.submit(lambda x: 2 * x, 21).result()") == 42
    assert value(kernel, "cluster.client is cluster.client") is True
    assert value(kernel, "[c.__module__ for c in type(cluster).__mro__][1]") == "dask_jobqueue.htcondor"
    name = value(kernel, "cluster.engine.id")
    ad = real("condor_q", "-af", "HtcmagicEngine", "ProjectName", "JobBatchName", "RequestCpus").stdout.split()
    assert ad[:2] == [name, "OSG-Staff"]
    assert ad[3] == "1"
    row = value(kernel, "dict(cluster.engine.status()[0], AGE=0)")
    assert (row["ENGINE"], row["NAME"], row["RUN"]) == (name, "fit", 1)
    end(kernel, real)
    assert value(kernel, "cluster.engine.ended") is True
    assert left_of(name) == []


def test_words_reach_the_worker_as_they_are(kernel, real):
    hostile = ["export A='two  words'", 'export B=""', "export C='$(D) \"q\" it'\"'\"'s'"]
    begin(kernel, f"workers=1, job_script_prologue={hostile!r}, worker_extra_args=['--resources', '\"\"']")
    seen = value(kernel, "cluster.client.submit(lambda: [__import__('os').environ[x] for x in 'ABC']).result(30)")
    assert seen == ["two  words", "", '$(D) "q" it\'s']
    end(kernel, real)


def test_it_adapts_to_the_load(kernel, real):
    begin(kernel, "maximum=2")
    assert quiet(real)
    assert value(kernel, "sum(cluster.client.gather(cluster.client.map(lambda x: x, range(50))))") == 1225
    kernel.run("cluster.adapt(minimum=0, maximum=0, interval='100ms', wait_count=1)")
    eventually(lambda: quiet(real), 30)
    assert "removed" not in value(kernel, "cluster.engine.ends")
    end(kernel, real)


def test_the_dashboard_is_reached_through_the_hub(kernel, real):
    kernel.run("import os; os.environ['JUPYTERHUB_SERVICE_PREFIX'] = '/user/jo/'")
    begin(kernel, "workers=0")
    link = value(kernel, "cluster.dashboard_link")
    assert link.startswith("/user/jo/proxy/")
    assert link.endswith("/status")
    port = link.split("/")[4]
    told = json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/json/identity.json", timeout=10))
    assert told["type"] == "Scheduler"
    end(kernel, real)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("hold=True", "is held: it was submitted on hold"),
        ("requirements='Memory > 99999999'", "no slot"),
        ("scheduler_options={'contact_address': 'tcp://127.0.0.1:9'}", "cannot reach the notebook at 127.0.0.1:9"),
    ],
)
def test_workers_that_never_start_are_told_with_the_reason(kernel, real, options, said):
    begin(kernel, f"workers=1, {options}")
    eventually(lambda: told(kernel, said), 40)
    end(kernel, real)


def told(kernel, said):
    """Whether the engine's status, and the display under its cell, say this."""
    shown = kernel.run("cluster.engine.status()")
    return shown.error is None and said in shown.result.lower()


def test_a_killed_worker_is_told_and_replaced(kernel, real):
    begin(kernel)
    assert value(kernel, "cluster.client.submit(lambda: 1).result()") == 1
    found = real("condor_q", "-af", "ClusterId").stdout.split()
    real("condor_rm", *found, "-reason", "maintenance")
    eventually(lambda: told(kernel, "was removed: maintenance"), 30)
    assert value(kernel, "cluster.client.submit(lambda: 1).result(30)") == 1
    end(kernel, real)


def test_nothing_is_left_of_a_killed_kernel(start_kernel, real):
    kernel = start_kernel()
    begin(kernel, "workers=2")
    assert value(kernel, "cluster.client.submit(lambda: 1).result()") == 1
    name, pid = value(kernel, "cluster.engine.id"), value(kernel, "__import__('os').getpid()")
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: quiet(real) and left_of(name) == [], 15)


def test_without_dask_a_line_says_what_to_install(kernel):
    kernel.run("import sys, htcmagic\nsys.modules['dask_jobqueue'] = None")
    outcome = kernel.run(CLUSTER.format(""))
    assert outcome.error[2].splitlines() == [
        "HTCMagicError: dask-jobqueue is not installed in this kernel.",
        "%pip install 'htcmagic[dask]'",
    ]


def test_what_is_no_option_is_said_in_words(kernel):
    kernel.run("import htcmagic")
    outcome = kernel.run(CLUSTER.format("memry='1GB'"))
    assert "memry is no submit command" in outcome.error[2]
    assert "Did you mean memory?" in outcome.error[2]
