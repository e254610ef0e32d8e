"""A DAG in a real JupyterLab in a real browser: it is drawn, and the drawing lives while another cell runs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import lab
import nbformat
import pytest
from test_browser import run_all_cells

pytestmark = pytest.mark.slow

HEAD = "SUBMIT-DESCRIPTION s {\n executable = /bin/sh\n arguments = \"-c 'sleep 0.5; test $(n) -ne 3'\"\n}\n"
NASTY = "<b>bold</b>"
NODES = "JOB make s\n" + "".join(f"JOB sim{i} s\nPARENT make CHILD sim{i}\n" for i in range(20))
VARS = "".join(f'VARS {name} n="{name[3:]}"\n' for name in [f"sim{i}" for i in range(20)])
CELL = f'%%condor_dag --name drawn\n{HEAD}{NODES}JOB {NASTY} s\nVARS make n="0"\nVARS {NASTY} n="0"\n{VARS}'


def test_the_drawing_lives(pool: Any, tmp_path: Path) -> None:
    cells = ["%load_ext htcmagic", CELL, "import time\ntime.sleep(6)"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])  # type: ignore[no-untyped-call]
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, tmp_path / "dag.ipynb")  # type: ignore[no-untyped-call]
    with lab.lab(tmp_path) as (url, token), lab.page() as page:
        page.goto(f"{url}/doc/tree/dag.ipynb?token={token}")
        page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=60000)
        page.wait_for_selector(".jp-NotebookPanel-toolbar [data-status=idle]", timeout=60000)
        run_all_cells(page)  # type: ignore[no-untyped-call]
        view = page.locator(".htcmagic-dag").first
        view.wait_for(timeout=60000)
        seen = set()
        for _ in range(1200):
            seen.add(view.inner_text().replace("\xa0", " "))
            if any(".rescue()" in text for text in seen):
                break
            time.sleep(0.05)
        last = max(seen, key=lambda text: ".rescue()" in text)
        assert "21 done" in last
        assert "1 failed" in last
        assert "sim 19/20" in last
        assert NASTY in last  # as text: nothing of it is markup
        assert "sim3 failed: exit code 1" in last
        assert any("running" in text and "done" in text for text in seen), seen
        assert view.locator("svg g").count() == 3
