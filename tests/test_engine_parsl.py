"""Parsl through htcmagic.engines: a stock configuration that runs as it is, blocks explained, nothing left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

import pytest
from engines import left_of, quiet, value
from pools import eventually

pytestmark = pytest.mark.slow
CONFIG = "config = htcmagic.engines.parsl(memory_gb=0.2, request_disk='50MB', {})"
LOAD = """\
import json, parsl, htcmagic
{}
parsl.load(config)
@parsl.python_app
def double(x):
    return 2 * x
"""


def begin(kernel, options="", timeout=90):
    outcome = kernel.run(LOAD.format(CONFIG.format(options)), timeout)
    assert outcome.error is None, outcome.error[2]
    return outcome


def test_a_configuration_runs_as_it_is(kernel, real):
    shown = begin(kernel, "label='scan', ProjectName='OSG-Staff', requirements='Memory > 1', retries=1")
    assert "Parsl parsl-" in shown.result
    assert value(kernel, "[f.result() for f in [double(i) for i in range(5)]]") == [0, 2, 4, 6, 8]
    kernel.run(
        "@parsl.bash_app\ndef hello(stdout='hello.txt'):\n    return 'echo hello $PARSL_CORES'\n"
        "@parsl.join_app\ndef twice(x):\n    return double(x)"
    )
    assert value(kernel, "[hello().result(), open('hello.txt').read()]") == [0, "hello 1\n"]
    assert value(kernel, "twice(21).result()") == 42
    name = value(kernel, "config.engine.id")
    marks = real("condor_q", "-af", "HtcmagicEngine", "HtcmagicEngineLabel", "ProjectName").stdout.split()
    assert marks == [name, "scan", "OSG-Staff"]
    table = value(kernel, "[dict(r, AGE=0) for r in config.engine.status()]")
    assert [(row["ENGINE"], row["RUN"], row["CORES"], row["KERNEL"]) for row in table] == [(name, 1, 1, "this")]
    assert table[0]["SLOT_HOURS"] > 0
    kernel.run("parsl.dfk().cleanup(); parsl.clear()")
    eventually(lambda: quiet(real), 15)
    assert value(kernel, "len(config.engine.status())") == 0
    assert left_of(name) == []


def test_the_configuration_is_a_stock_one(kernel):
    kernel.run("import json, parsl, htcmagic\n" + CONFIG.format("blocks=3, workers_per_block=2, prefetch_capacity=4"))
    told = "[type(config).__name__, type(config.executors[0]).__name__, config.executors[0].prefetch_capacity]"
    assert value(kernel, told) == ["Config", "HighThroughputExecutor", 4]
    provider = "config.executors[0].provider"
    assert value(kernel, f"[{provider}.max_blocks, {provider}.cores_per_slot]") == [3, 2]
    assert value(kernel, f"issubclass(type({provider}), parsl.providers.CondorProvider)") is True


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("request_memry='1GB'", "request_memory"),
        ("walltime='an hour'", "HH:MM:SS"),
        ("container='/no/such/image.sif'", "There is no image"),
        ("provider=1", "provider is what is made here"),
        ("executable='/bin/true'", "executable"),
    ],
)
def test_what_is_no_option_is_said_in_words(kernel, options, said):
    kernel.run("import htcmagic")
    outcome = kernel.run(CONFIG.format(options))
    assert outcome.error is not None
    assert said in outcome.error[2]
    assert "Traceback" not in outcome.error[2]


def test_a_held_block_is_told_by_parsl_and_under_the_cell(kernel, real):
    begin(kernel, "hold=True")
    asked = kernel.run("double(1).result()", 60)
    assert asked.error is not None
    assert "is held: submitted on hold at user's request" in asked.error[2]
    kernel.run("import time; time.sleep(1.5)")
    assert "is held: it was submitted on hold" in last_text(kernel, asked)
    table = kernel.run("%condor_engines")
    assert "is held: it was submitted on hold" in table.result
    said = kernel.run("%condor_engines --stop all")
    assert "stopped, 1 job removed." in said.text
    assert quiet(real)


def last_text(kernel, *outcomes):
    """Return the text of the live display as it was last."""
    updates = [one for outcome in outcomes for one in outcome.updates]
    outcome = kernel.run("pass")
    updates += outcome.updates
    return updates[-1]["text/plain"] if updates else ""


def test_a_block_that_cannot_be_submitted_is_told(kernel, real):
    begin(kernel, "requirements='((('")
    asked = kernel.run("double(1).result()", 60)
    assert asked.error is not None
    assert "condor_submit" in asked.error[2]
    kernel.run("config.engine.stop()")
    assert quiet(real)


def test_a_worker_without_parsl_says_so(kernel, real, tmp_path):
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True)
    begin(kernel, f"python='{bare}/bin/python'")
    asked = kernel.run("double(1).result()", 60)
    assert asked.error is not None
    assert f"there is no parsl in {bare}/bin/python" in asked.error[2]
    kernel.run("config.engine.stop()")
    assert quiet(real)


def test_a_killed_worker_does_not_stop_the_rest(kernel, real):
    begin(kernel, "retries=2")
    assert value(kernel, "double(1).result()") == 2
    kernel.run(
        "@parsl.python_app\ndef die(file):\n    import os, signal\n    if not os.path.exists(file):\n"
        "        open(file, 'w').close()\n        os.kill(os.getpid(), signal.SIGKILL)\n    return 'alive'"
    )
    assert value(kernel, "die(__import__('os').path.abspath('died')).result()") == "alive"
    kernel.run("config.engine.stop()")
    assert quiet(real)


def test_a_block_ends_with_its_walltime_and_another_comes(kernel, real):
    begin(kernel, "walltime='00:00:04', retries=2, heartbeat_period=1, heartbeat_threshold=4")
    assert value(kernel, "double(1).result()") == 2
    eventually(lambda: "was ended after its walltime" in str(value(kernel, "config.engine.ends")), 60)
    assert value(kernel, "double(2).result()") == 4
    kernel.run("config.engine.stop()")
    assert quiet(real)


@pytest.mark.parametrize("stage", ["made", "loaded", "working"])
def test_nothing_is_left_of_a_killed_kernel(start_kernel, real, stage):
    kernel = start_kernel()
    if stage == "made":
        kernel.run("import json, parsl, htcmagic\n" + CONFIG.format(""))
    else:
        begin(kernel)
    if stage == "working":
        assert value(kernel, "double(2).result()") == 4
    name, pid = value(kernel, "config.engine.id"), value(kernel, "__import__('os').getpid()")
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: quiet(real) and left_of(name) == [], 10)


def test_another_notebook_stops_it(start_kernel, real):
    one, other = start_kernel(), start_kernel()
    begin(one)
    assert value(one, "double(2).result()") == 4
    name = value(one, "config.engine.id")
    listed = other.run("%condor_engines")
    assert name in listed.result
    assert "this" not in listed.result
    wrong = other.run("%condor_engines --stop parsl-none")
    assert f"Did you mean {name}?" in wrong.error[2]
    assert "1 job removed" in other.run(f"%condor_engines --stop {name}").text
    assert quiet(real)
    one.run("import time; time.sleep(4)")
    assert value(one, "config.engine.ended") is True
    asked = one.run("double(1).result()", 30)
    assert asked.error is not None
    assert left_of(name) == []


def test_no_free_port_is_said(kernel):
    kernel.run("import htcmagic")
    with socket.create_server(("", 47311)), socket.create_server(("", 47312)):
        outcome = kernel.run(CONFIG.format("worker_port_range=(47311, 47313)"))
    assert "none of these ports is free" in outcome.error[2]
    assert "worker_port_range=(" in outcome.error[2]


def test_without_parsl_a_line_says_what_to_install(kernel):
    kernel.run("import sys, htcmagic\nsys.modules['parsl'] = None")
    outcome = kernel.run(CONFIG.format(""))
    assert outcome.error[2].splitlines() == [
        "HTCMagicError: Parsl is not installed in this kernel.",
        "%pip install 'htcmagic[parsl]'",
    ]


def test_engines_are_imported_when_used():
    code = (
        "import sys, htcmagic.engines, htcmagic.magics.engines, htcmagic.engines.overview\n"
        "print({'parsl', 'dask', 'distributed', 'ipyparallel', 'dask_jobqueue'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
