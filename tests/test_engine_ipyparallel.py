"""ipyparallel through htcmagic.engines: a connected client, %%px, engines explained, nothing left behind."""

from __future__ import annotations

import os
import signal

import pytest
from engines import left_of, quiet, value
from pools import eventually

pytestmark = pytest.mark.slow

CLIENT = "rc = htcmagic.engines.ipyparallel(memory='150MB', disk='50MB', {})"


def begin(kernel, options="engines=1"):
    outcome = kernel.run(f"import json, htcmagic\n{CLIENT.format(options)}", 90)
    assert outcome.error is None, outcome.error[2]
    return outcome


def test_a_connected_client_and_px(kernel, real):
    shown = begin(kernel, "engines=2, ProjectName='OSG-Staff'")
    assert "ipyparallel ipyparallel-" in shown.data[0]["text/plain"]
    assert value(kernel, "len(rc)") == 2
    assert value(kernel, "rc[:].map_sync(lambda x: x * x, range(4))") == [0, 1, 4, 9]
    said = kernel.run("%%px\nimport os\nprint('hi from', os.environ['_CONDOR_SLOT'])")
    assert said.error is None, said.error[2]
    assert sum("hi from slot1" in one["text/plain"] for one in said.data) == 2
    name = value(kernel, "rc.engine.id")
    ads = real("condor_q", "-af", "HtcmagicEngine", "ProjectName").stdout.split()
    assert ads == [name, "OSG-Staff"] * 2
    assert "secret" not in real("condor_q", "-long").stdout
    row = value(kernel, "dict(rc.engine.status()[0], AGE=0)")
    assert (row["RUN"], row["CORES"]) == (2, 2)
    kernel.run("rc.cluster.stop_cluster_sync()", 30)
    eventually(lambda: quiet(real) and value(kernel, "rc.engine.ended"), 20)
    assert left_of(name) == []


def test_engines_that_are_held_are_told(kernel, real):
    kernel.run("import htcmagic")
    outcome = kernel.run(CLIENT.format("hold=True"), 60)
    assert outcome.error[2].startswith("PoolError: No engine: Job ")
    assert "it was submitted on hold" in outcome.error[2]
    assert quiet(real)


def test_engines_that_no_slot_takes_are_told(kernel, real):
    kernel.run("import htcmagic")
    outcome = kernel.run(CLIENT.format("wait_s=18, requirements='Memory > 99999999'"), 60)
    assert "slot" in outcome.error[2]
    assert "Traceback" not in outcome.error[2]
    assert quiet(real)


def test_nothing_is_left_of_a_killed_kernel(start_kernel, real):
    kernel = start_kernel()
    begin(kernel)
    name, pid = value(kernel, "rc.engine.id"), value(kernel, "__import__('os').getpid()")
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: quiet(real) and left_of(name) == [], 15)


def test_an_interrupt_while_engines_are_waited_for_removes_them(kernel, real):
    kernel.run("import htcmagic")
    kernel.run(CLIENT.format("requirements='Memory > 99999999'"), send_only=True)
    eventually(lambda: not quiet(real), 20)
    kernel.manager.interrupt_kernel()
    outcome = kernel.collect(30)
    assert outcome.error[2] == "Interrupted: Stopped waiting, and removed the engines."
    eventually(lambda: quiet(real), 10)


def test_without_ipyparallel_a_line_says_what_to_install(kernel):
    kernel.run("import sys, htcmagic\nsys.modules['ipyparallel'] = None")
    outcome = kernel.run(CLIENT.format(""))
    assert outcome.error[2].splitlines() == [
        "HTCMagicError: ipyparallel is not installed in this kernel.",
        "%pip install 'htcmagic[ipyparallel]'",
    ]
