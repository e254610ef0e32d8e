"""Kernels of ours in JupyterLab's launcher, in a real browser: logos, names, a notebook that runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import lab
import pytest


@pytest.fixture
def kernels(tmp_path, monkeypatch):
    """Make two kernels in a data folder of their own: one of a shipped stack, one of a script."""
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    (tmp_path / "set up.sh").write_text(f"export COLOUR='deep blue'\nPATH={sys.prefix}/bin:$PATH\n")
    command = [Path(sys.executable).with_name("htc-kernel"), "create"]
    subprocess.run([*command, "--source", tmp_path / "set up.sh", "--display-name", "My stack"], check=True)
    subprocess.run([*command, "--cvmfs", "belle2", "--release", "light-2603-ina", "--no-probe"], check=True)


def test_the_launcher_shows_the_logos_and_starts_the_kernel(kernels, tmp_path):
    folder = tmp_path / "lab"
    folder.mkdir()
    with lab.lab(folder) as (url, token), lab.page(1160, 700) as page:
        page.goto(f"{url}/lab?token={token}")
        cards = page.locator(".jp-Launcher-section", has_text="Notebook").first.locator(".jp-LauncherCard")
        cards.first.wait_for(timeout=60000)
        for title in ("My stack", "Belle II"):
            logo = cards.filter(has_text=title).locator("img.jp-Launcher-kernelIcon")
            logo.wait_for(timeout=20000)
            assert "/kernelspecs/" in logo.get_attribute("src")
            assert logo.evaluate("image => image.complete && image.naturalWidth") >= 32
        if picture := os.environ.get("HTCMAGIC_LAUNCHER_PICTURE"):
            page.screenshot(path=picture)
        cards.filter(has_text="My stack").click()
        page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=60000)
        page.wait_for_selector(".jp-NotebookPanel-toolbar [data-status=idle]", timeout=60000)
        page.locator(".jp-Notebook .jp-CodeCell .cm-content").first.click()
        page.keyboard.type("import os; print(os.environ['COLOUR'])")
        page.keyboard.press("Shift+Enter")
        page.get_by_text("deep blue").first.wait_for(timeout=30000)
        assert "My stack" in page.locator(".jp-NotebookPanel-toolbar").inner_text()
