"""Notebook and workers on two hosts that share no folder of the notebook's: real networks, a real pool across them."""

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


def played(scene: str, folder: Path, what: str = "engines") -> Any:
    """Play a scene in a network of its own; return what it tells."""
    assert shutil.which("ip"), "ip is not on PATH. Install it: apt-get install iproute2"
    tried = subprocess.run([*ALONE, "/bin/true"], capture_output=True, text=True, check=False)
    assert tried.returncode == 0, f"This machine allows no user namespaces: {tried.stderr}"
    env = {name: value for name, value in os.environ.items() if name not in {"CONDOR_CONFIG", "CONDOR_IDS"}}
    done = subprocess.run(
        [*ALONE, sys.executable, str(HERE / f"twohosts_{what}.py"), scene, str(folder)],
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.rpartition("=> ")[2])


def test_descriptions_and_scripts_take_their_files_along(tmp_path):
    told, made, said = played("cells", tmp_path, "jobs")
    assert told == ["the data\n"] * 3
    assert made == ["made.0", "made.1", "made.2"]
    assert said == [["it's", "$x", str(n), WORKER] for n in range(3)]


def test_python_cells_need_nothing_of_the_notebooks_folders(tmp_path):
    assert played("python", tmp_path, "jobs") == [[11, 12, 13], [f"point {n}\n" for n in (1, 2, 3)], "1"]


def test_maps_executors_and_tasks_need_neither_ports_nor_shared_files(tmp_path):
    assert played("functions", tmp_path, "jobs") == [249500, 249500, 84, 3_000_000, 4]


def test_results_of_a_dags_functions_travel_as_files(tmp_path):
    assert played("workflow", tmp_path, "jobs") == 6


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
