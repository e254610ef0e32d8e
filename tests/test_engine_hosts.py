"""Engines with notebook and workers on two hosts: real network namespaces, a real pool across the wire."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from twohosts import ALONE, ELSEWHERE, NOTEBOOK, WORKER

pytestmark = pytest.mark.slow
HERE = Path(__file__).parent
REACHES = "Give an address of this machine that it reaches: htcmagic.engines."


def played(scene: str, folder: Path) -> Any:
    """Play a scene in a network of its own; return what it tells."""
    assert shutil.which("ip"), "ip is not on PATH. Install it: apt-get install iproute2"
    tried = subprocess.run([*ALONE, "/bin/true"], capture_output=True, text=True, check=False)
    assert tried.returncode == 0, f"This machine allows no user namespaces: {tried.stderr}"
    env = {name: value for name, value in os.environ.items() if name not in {"CONDOR_CONFIG", "CONDOR_IDS"}}
    done = subprocess.run(
        [*ALONE, sys.executable, str(HERE / "twohosts_engines.py"), scene, str(folder)],
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.rpartition("=> ")[2])


def test_parsl_between_machines_is_encrypted(tmp_path):
    assert played("parsl", tmp_path) == [WORKER, NOTEBOOK, True, 0]


def test_dask_between_machines_uses_tls(tmp_path):
    assert played("dask", tmp_path) == [WORKER, f"tls://{NOTEBOOK}", 0]


def test_ipyparallel_between_machines_is_encrypted(tmp_path):
    assert played("ipyparallel", tmp_path) == [[WORKER], True, 0]


def test_an_executor_needs_no_port(tmp_path):
    assert played("executor", tmp_path) == [WORKER, 0]


def test_parsl_at_an_address_that_workers_do_not_reach(tmp_path):
    raised, told, left = played("wrong_for_parsl", tmp_path)
    assert f"cannot reach the notebook at {ELSEWHERE}:" in told
    assert f'{REACHES}parsl(…, address="…")' in told
    assert f'{REACHES}parsl(…, address="…")' in raised
    assert left == 0


def test_dask_at_an_address_that_workers_do_not_reach(tmp_path):
    status, told, left = played("wrong_for_dask", tmp_path)
    assert f"cannot reach the notebook at {ELSEWHERE}:" in told
    assert f'{REACHES}dask(…, scheduler_options={{"host": "…"}})' in told
    assert (status, left) == ("closed", 0)


def test_ipyparallel_at_an_address_that_workers_do_not_reach(tmp_path):
    raised, soon, left = played("wrong_for_ipyparallel", tmp_path)
    assert raised.startswith("No engine: engine ")
    assert f"cannot reach the notebook at {ELSEWHERE}:" in raised
    assert f'{REACHES}ipyparallel(…, controller_ip="…")' in raised
    assert (soon, left) == (True, 0)


def test_addresses_that_no_other_machine_reaches_are_refused_before_anything_is_sent(tmp_path):
    told, left = played("loopback", tmp_path)
    assert [message for message, _ in told] == [
        "address: at 127.0.0.1 each machine reaches itself, and not this one.",
        "host: at localhost each machine reaches itself, and not this one.",
        "controller_ip: at 127.0.0.1 each machine reaches itself, and not this one.",
        "address: there is no machine no.such.machine.invalid.",
    ]
    assert {hint for _, hint in told} == {f"This one, seen from the pool: {NOTEBOOK}"}
    assert left == 0
