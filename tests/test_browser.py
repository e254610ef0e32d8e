"""The magics in a real JupyterLab in a real browser: the live bar, the table, TAB."""

from __future__ import annotations

import os
import time

import lab
import nbformat
import pytest

CELLS = [
    "%load_ext htcmagic\nimport time\ngrid = [{'x': x, 'y': y} for x in range(4) for y in range(3)]",
    (
        "%%condor --over grid --name scan -o scan\nexecutable = /bin/sh\n"
        "arguments  = \"-c 'sleep 1.$(y); echo $(x) $(y)'\"\nrequest_memory = 256MB\nqueue"
    ),
    "%condor_q",
    "time.sleep(2); scan.wait(90); print('all', len(scan), 'ended')",
]


@pytest.fixture(scope="module")
def page(pool, tmp_path_factory):
    """Open a notebook in JupyterLab."""
    folder = tmp_path_factory.mktemp("lab")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, folder / "scan.ipynb")
    with lab.lab(folder) as (url, token), lab.page() as opened:
        opened.goto(f"{url}/doc/tree/scan.ipynb?token={token}")
        opened.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=60000)
        opened.wait_for_selector(".jp-NotebookPanel-toolbar [data-status=idle]", timeout=60000)
        yield opened


def run_all_cells(page):
    """Run them; once more where JupyterLab, still busy with its start, has passed over that."""
    page.locator(".jp-Notebook .jp-CodeCell").first.click()
    for _ in range(6):
        page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells') && 0")
        for _ in range(50):
            if page.locator(".jp-InputPrompt").first.inner_text() not in {"[ ]:", "[\xa0]:"}:
                return
            time.sleep(0.1)
        for choice in page.locator(".jp-Dialog .jp-mod-accept").all():  # asked before the kernel was there
            choice.click()
    pytest.fail("JupyterLab runs no cells")


def test_the_bar_lives_while_another_cell_runs(page):
    run_all_cells(page)
    bar = page.locator(".htcmagic-cluster").first
    bar.wait_for(timeout=60000)
    seen = set()
    for _ in range(1200):
        seen.add(bar.inner_text().replace("\xa0", " "))
        picture = os.environ.get("HTCMAGIC_PICTURE")
        if picture and any("6 done" in text for text in seen):
            page.screenshot(path=picture)
            os.environ.pop("HTCMAGIC_PICTURE")
        if any("12 done" in text for text in seen):
            break
        time.sleep(0.05)
    assert any("running" in text and "done" in text for text in seen), seen
    assert any("12 done" in text for text in seen), seen
    page.get_by_text("all 12 ended").wait_for(timeout=30000)


def test_the_queue_is_a_table(page):
    table = page.locator(".jp-OutputArea-output table").first
    assert "BATCH_NAME" in table.inner_text()
    assert "scan" in table.inner_text()


def test_tab_offers_submit_commands(page):
    page.keyboard.press("Escape")
    page.keyboard.press("b")
    page.keyboard.press("Enter")
    page.keyboard.type("%%condor\nrequest_m")
    page.keyboard.press("Tab")
    page.wait_for_selector("text=request_memory", timeout=20000)
    assert "request_memory" in page.locator(".jp-CodeCell").last.inner_text() + page.locator("body").inner_text()
