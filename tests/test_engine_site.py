"""Engines on a pool that is not this machine's own: addresses, port ranges, encryption, the way of the files."""

from __future__ import annotations

import importlib.util
import os
import socket

import pytest
from conftest import Kernel, own_pool
from engines import value

pytestmark = pytest.mark.slow

SLOTS = "memory='200MB', disk='50MB'"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Run a second pool, known by HTCondor's configuration alone, as a site's is."""
    with own_pool(tmp_path_factory.mktemp("site")) as (address, _):
        yield address


@pytest.fixture
def visitor(site, notebook_dir, monkeypatch):
    """Start a kernel to which that pool is the configured one."""
    monkeypatch.setenv("CONDOR_CONFIG", site.config)
    if os.getuid() == 0:
        monkeypatch.setenv("CONDOR_IDS", "0.0")
    started = Kernel(notebook_dir)
    started.run("%load_ext htcmagic\nimport json, htcmagic")
    yield started
    started.stop()


def ports(first=21000):
    return range(first + os.getuid() % 200 * 100, first + os.getuid() % 200 * 100 + 100)


def test_parsl_encrypts_and_listens_in_the_users_range(visitor):
    outcome = visitor.run(
        "import parsl\nconfig = htcmagic.engines.parsl(memory_gb=0.2, request_disk='50MB')\nparsl.load(config)\n"
        "@parsl.python_app\ndef double(x):\n    return 2 * x\nprint(double(21).result())",
        90,
    )
    assert outcome.error is None, outcome.error[2]
    assert outcome.text == "42\n"
    assert value(visitor, "config.executors[0].encrypted") is True
    assert value(visitor, "config.executors[0].worker_port") in ports()
    assert value(visitor, "config.engine.client.pool.personal") is False
    visitor.run("config.engine.stop()", 30)
    assert value(visitor, "config.engine.client.query('true', ['ClusterId']).rows") == []


def test_dask_uses_tls_and_files_go_along(visitor):
    outcome = visitor.run(f"cluster = htcmagic.engines.dask(1, {SLOTS}, should_transfer_files='YES')", 60)
    if importlib.util.find_spec("cryptography") is None:
        assert "the package cryptography is not installed" in outcome.error[2]
        outcome = visitor.run(
            f"cluster = htcmagic.engines.dask(1, {SLOTS}, security=None, should_transfer_files='YES')"
        )
    else:
        assert value(visitor, "cluster.scheduler_address.split(':')[0]") == "tls"
    assert outcome.error is None, outcome.error[2]
    assert value(visitor, "int(cluster.scheduler_address.rpartition(':')[2])") in ports()
    assert value(visitor, "cluster.client.submit(lambda x: 2 * x, 21).result(40)") == 42
    visitor.run("cluster.close()", 30)
    assert value(visitor, "cluster.engine.client.query('true', ['ClusterId']).rows") == []


def test_no_free_port_for_dask_is_said(visitor):
    with socket.create_server(("", 47321)), socket.create_server(("", 47322)):
        outcome = visitor.run(f"htcmagic.engines.dask(1, {SLOTS}, scheduler_options={{'port': (47321, 47323)}})")
    assert "none of these ports is free" in outcome.error[2]
    assert "Traceback" not in outcome.error[2]
    assert value(visitor, "len(htcmagic.engines.status())") == 0


def test_ipyparallel_encrypts_and_files_go_along(visitor):
    outcome = visitor.run(f"rc = htcmagic.engines.ipyparallel(1, {SLOTS}, should_transfer_files='YES')", 90)
    assert outcome.error is None, outcome.error[2]
    assert value(visitor, "rc[:].apply_sync(lambda: 42)") == [42]
    assert value(visitor, "bool(rc.curve_serverkey)") is True
    visitor.run("rc.engine.stop()", 30)
    assert value(visitor, "rc.engine.client.query('true', ['ClusterId']).rows") == []
