"""Dask's pane in JupyterLab makes clusters on the pool, and its dashboard is reached through the server's own proxy."""

from __future__ import annotations

import json
import os
import shutil
import urllib.request
from pathlib import Path

import lab
import pytest
from engines import quiet
from pools import eventually

import htcmagic.engines

pytestmark = pytest.mark.slow

HUB = "/user/jo/"


@pytest.fixture
def server(pool, tmp_path):
    """Run a JupyterLab as a hub does, with our settings for the pane where a user puts them."""
    dask = tmp_path / "dask"
    dask.mkdir()
    shutil.copy(Path(htcmagic.engines.__file__).with_name("labextension.yaml"), dask)
    with lab.lab(tmp_path, HUB, DASK_CONFIG=str(dask), JUPYTERHUB_SERVICE_PREFIX=HUB) as (url, token):
        yield url, token


def test_the_pane_makes_a_cluster_and_shows_its_dashboard(server, real):
    url, token = server

    def ask(method, path):
        request = urllib.request.Request(  # noqa: S310 - our own server
            f"{url}/{path}", method=method, headers={"Authorization": f"token {token}"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return answer.read().decode()

    made = json.loads(ask("PUT", "dask/clusters/"))
    assert made["dashboard_link"].startswith(f"{HUB}proxy/")
    known = eventually(
        lambda: (model := json.loads(ask("GET", f"dask/clusters/{made['id']}")))["workers"] == 2 and model, 60
    )
    assert known["cores"] == 2
    ads = real("condor_q", "-af", "HtcmagicEngineKind", "RequestMemory").stdout.split()
    assert ads == ["dask", "1907"] * 2
    assert "<title>Dask Diagnostic UI</title>" in ask("GET", made["dashboard_link"].removeprefix(HUB))
    ask("DELETE", f"dask/clusters/{made['id']}")
    eventually(lambda: quiet(real), 20)


def test_a_click_makes_a_cluster(server, real):
    url, token = server
    with lab.page(width=1280, height=1000) as opened:
        opened.goto(f"{url}/lab?token={token}")
        opened.locator('.jp-SideBar [title*="Dask"]').first.click(timeout=60000)
        opened.locator("[data-command='dask:launch-cluster']").click(timeout=30000)
        opened.locator(".dask-ClusterListingItem", has_text="Number of Workers: 2").wait_for(timeout=60000)
        if os.environ.get("HTCMAGIC_PICTURE"):
            opened.screenshot(path=os.environ["HTCMAGIC_PICTURE"])
        opened.locator(".dask-ClusterListingItem-stop").click()
        eventually(lambda: quiet(real), 30)
