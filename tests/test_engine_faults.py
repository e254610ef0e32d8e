"""Engines when something goes wrong: schedd killed, blocks removed, another Python, no port, kernels killed early."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Kernel
from engines import left_of, quiet, value
from pools import at_home, daemon, eventually, tool

pytestmark = pytest.mark.slow

BEGIN = {
    "parsl": "import parsl\nconfig = htcmagic.engines.parsl(memory_gb=0.2, request_disk='50MB', {})\n"
    "engine = config.engine\nparsl.load(config)",
    "dask": "engine = (cluster := htcmagic.engines.dask(1, memory='250MB', disk='50MB', {})).engine",
    "ipyparallel": "engine = (rc := htcmagic.engines.ipyparallel(1, memory='150MB', disk='50MB', {})).engine",
}
CALL = {
    "parsl": "parsl.python_app(lambda s: __import__('time').sleep(s) or 42)({}).result()",
    "dask": "cluster.client.submit(lambda s: __import__('time').sleep(s) or 42, {}, pure=False).result(90)",
    "ipyparallel": "rc[0].apply_async(lambda s: __import__('time').sleep(s) or 42, {}).get(90)",
}
ENGINES = pytest.mark.parametrize("name", list(BEGIN))


def begin(kernel: Kernel, name: str, options: str = "") -> None:
    outcome = kernel.run(f"import json, htcmagic\n{BEGIN[name].format(options)}", 90)
    assert outcome.error is None, outcome.error[2]


@pytest.fixture
def fragile(tmp_path: Path) -> Iterator[tuple[Kernel, Path]]:
    """Start a kernel with a pool of its own, whose daemons may be killed."""
    with at_home(tmp_path / "home") as folder:
        started = Kernel(tmp_path)
        try:
            started.run("%load_ext htcmagic")
            yield started, folder
        finally:
            started.stop()


@ENGINES
def test_a_killed_schedd_loses_no_call(fragile, name):
    kernel, folder = fragile
    begin(kernel, name)
    assert value(kernel, CALL[name].format(0)) == 42
    kernel.run(
        f"import threading\nfound = []\nthreading.Thread(target=lambda: found.append({CALL[name].format(6)})).start()"
    )
    before = daemon(folder, "schedd")
    os.kill(before, signal.SIGKILL)
    eventually(lambda: value(kernel, "found") == [42], 60)
    assert daemon(folder, "schedd") != before
    assert value(kernel, CALL[name].format(0)) == 42
    row = eventually(lambda: [row for row in value(kernel, "[dict(r) for r in engine.status()]") if row["RUN"]])[0]
    assert (row["RUN"], row["HELD"]) == (1, 0)
    kernel.run("engine.stop()", 60)
    ids = ("condor_q", "-constraint", "HtcmagicEngine =!= undefined", "-af", "ClusterId")
    eventually(lambda: not tool(*ids).stdout.split(), 30)


def test_a_block_that_somebody_removes_is_told_and_another_comes(kernel, real):
    begin(kernel, "parsl", "retries=2, heartbeat_period=1, heartbeat_threshold=4")
    assert value(kernel, CALL["parsl"].format(0)) == 42
    found = real("condor_q", "-af", "ClusterId").stdout.split()
    real("condor_rm", *found, "-reason", "maintenance")
    eventually(lambda: "was removed: maintenance" in str(value(kernel, "engine.ends")), 30)
    assert value(kernel, CALL["parsl"].format(0)) == 42
    kernel.run("engine.stop()")
    assert quiet(real)


@pytest.fixture
def other_python(tmp_path: Path) -> Path:
    """Make a python that says it is 3.9."""
    script = tmp_path / "other" / "python3"
    script.parent.mkdir()
    (script.parent / "sitecustomize.py").write_text("import sys\nsys.version_info = (3, 9, 2, 'final', 0)\n")
    script.write_text(f'#!/bin/sh\nPYTHONPATH={script.parent} exec {sys.executable} "$@"\n')
    script.chmod(0o755)
    return script


@ENGINES
def test_workers_with_another_python_are_told(kernel, real, other_python, name):
    kernel.run("import json, htcmagic")
    outcome = kernel.run(BEGIN[name].format(f"python={str(other_python)!r}"), 90)
    said = f"Python 3.9 on {socket.gethostname()} is not the notebook's {sys.version_info[0]}.{sys.version_info[1]}"
    if name == "ipyparallel":
        assert said in outcome.error[2]
    else:
        assert outcome.error is None, outcome.error[2]
        eventually(lambda: said in str(value(kernel, "engine.ends")), 40)
        kernel.run("engine.stop()", 60)
    assert quiet(real)


@ENGINES
@pytest.mark.parametrize("stage", ["sent", "idle"])
def test_nothing_is_left_of_a_kernel_that_is_killed_before_workers_are_there(start_kernel, real, name, stage):
    kernel = start_kernel()
    pid = value(kernel, "__import__('os').getpid()")
    options = "requirements='Memory > 99999999'" if stage == "idle" else ""
    kernel.run(f"import json, htcmagic\n{BEGIN[name].format(options)}", send_only=True)
    eventually(lambda: not quiet(real), 30)
    made = real("condor_q", "-af", "HtcmagicEngine").stdout.split()[0]
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: quiet(real) and left_of(made) == [], 20)


def test_parsls_own_monitoring_works_and_ends_with_the_kernel(start_kernel, real):
    kernel = start_kernel()
    monitoring = "monitoring=__import__('parsl').MonitoringHub(hub_address='127.0.0.1', resource_monitoring_interval=1)"
    begin(kernel, "parsl", monitoring)
    assert value(kernel, CALL["parsl"].format(3)) == 42
    counted = "__import__('sqlite3').connect('runinfo/monitoring.db').execute('select count(*) from {}').fetchone()"
    eventually(lambda: value(kernel, counted.format("task")) == [1], 30)
    eventually(lambda: value(kernel, counted.format("resource"))[0] >= 1, 30)
    made, pid = value(kernel, "engine.id"), value(kernel, "__import__('os').getpid()")
    below = set(map(int, value(kernel, "[p.pid for p in __import__('psutil').Process().children(recursive=True)]")))
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: quiet(real) and left_of(made) == [], 15)
    eventually(lambda: not [one for one in below if Path(f"/proc/{one}").exists()], 15)
