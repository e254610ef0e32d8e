"""The live view in a real JupyterLab: sorted, filtered, opened, clicked; and the queue itself is asked."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from pathlib import Path

import lab
import nbformat
import pytest
from pools import at_home, daemon, eventually, tool

from htcmagic import places
from htcmagic.pool import resolve

pytestmark = pytest.mark.slow
SLEEP = "executable = /bin/sleep\narguments = 600\nrequest_memory = 64MB\n"
HOSTILE = "<img src=x onerror=window.pwned=1>'\"&lt;b&gt;"
BATCHES = {"unfold": "hold = true\nqueue 12", "systematics": "queue 40", "N" * 200: "hold = true\nqueue 2"}
BATCHES[HOSTILE] = "hold = true\nqueue"
SEND = f"""%load_ext htcmagic
import shlex, time
def send(name, end):
    get_ipython().run_cell_magic("condor", f"--name {{shlex.quote(name)}}", {SLEEP!r} + end)
"""
CELLS = [
    SEND,
    f"for name, end in {BATCHES!r}.items():\n    send(name, end)",
    "view = %condor_watch",
    "time.sleep(6)",
    "%condor_why unfold",
    'send("twenty-thousand", "hold = true\\nqueue 20000")',
    "%condor_watch twenty-thousand",
    "queue = %condor_q --watch",
    "queue.stop()",
]


class Lab:
    """A notebook in JupyterLab, and the pool its kernel sends to."""

    def __init__(self, page, folder, pool):
        self.page, self.folder, self.pool = page, folder, pool

    def run(self, cell, *, wait=True):
        """Run a cell by its number; once more where JupyterLab, still busy with its start, has passed over that."""
        before = self.prompt(cell)
        for _ in range(6):
            self.page.evaluate(
                "n => {const p = jupyterapp.shell.currentWidget; p.content.activeCellIndex = n;"
                "jupyterapp.commands.execute('notebook:run-cell'); return 0}",
                cell,
            )
            with contextlib.suppress(AssertionError):
                eventually(lambda: self.prompt(cell) != before, 5)
                break
        if wait:
            eventually(lambda: self.prompt(cell).strip("[]:\xa0 ").isdigit(), 60)

    def prompt(self, cell):
        return self.page.locator(".jp-Notebook .jp-CodeCell").nth(cell).locator(".jp-InputPrompt").inner_text()

    def output(self, cell):
        return self.page.locator(".jp-Notebook .jp-CodeCell").nth(cell).locator(".jp-Cell-outputArea")

    def view(self, cell):
        found = self.output(cell).locator(".htcmagic-live")
        found.wait_for(timeout=30000)
        return found

    def saved(self, cell):
        """Return the last output of a cell as it is in the notebook's file."""
        self.page.evaluate("jupyterapp.commands.execute('docmanager:save').then(() => 0)")
        return json.loads((self.folder / "live.ipynb").read_text())["cells"][cell]["outputs"][-1]["data"]


@pytest.fixture(scope="module")
def opened(session_home, tmp_path_factory):
    """Open a notebook in JupyterLab, with batches in a pool of its own."""
    folder = tmp_path_factory.mktemp("live")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, folder / "live.ipynb")
    with at_home(tmp_path_factory.mktemp("livehome")) as pool:
        resolve.personal_pool()
        with lab.lab(folder) as (url, token), lab.page(1160, 900) as page:
            page.goto(f"{url}/doc/tree/live.ipynb?token={token}")
            page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=60000)
            page.wait_for_selector(".jp-NotebookPanel-toolbar [data-status=idle]", timeout=60000)
            page.locator(".jp-Notebook .jp-CodeCell").first.click()
            live = Lab(page, folder, pool)
            live.run(0)
            live.run(1)
            live.run(2)
            live.view(2)
            yield live


def queue(*words):
    """Ask the schedd itself."""
    return tool("condor_q", "-allusers", *words).stdout.split()


def cluster_of(name):
    return queue("-constraint", f'JobBatchName == "{name}"', "-limit", "1", "-af", "ClusterId")[0]


def lines(view):
    return [text.split("\n")[0] for text in view.locator("tr.batch .toggle").all_inner_texts()]


def line(view, name):
    return view.locator("tr.batch", has_text=name)


def answered(view):
    done = view.locator(".question.done")
    done.wait_for(timeout=30000)
    said = done.locator(".says").inner_text()
    done.locator("button").click()
    return said


def picture(live, name):
    """Keep a picture for whoever wants to look at it."""
    if folder := os.environ.get("HTCMAGIC_PICTURES"):
        live.page.screenshot(path=str(Path(folder) / f"{name}.png"))


def test_it_is_sorted_and_filtered(opened):
    view = opened.view(2)
    sent = ["unfold", "systematics", "N" * 200, HOSTILE]
    assert lines(view) == sent
    view.get_by_role("button", name="Total").click()
    assert lines(view) == ["systematics", "unfold", "N" * 200, HOSTILE]
    view.get_by_role("button", name="Total").click()
    assert lines(view) == [HOSTILE, "N" * 200, "unfold", "systematics"]
    view.get_by_role("button", name="Total").click()
    assert lines(view) == sent
    view.get_by_role("searchbox").fill("SYST")
    eventually(lambda: lines(view) == ["systematics"], 5)
    view.get_by_role("searchbox").fill("no such thing")
    view.get_by_text("Nothing fits the filter.").wait_for()
    view.get_by_role("searchbox").fill("")
    view.locator(".chip.held").click()
    eventually(lambda: lines(view) == ["unfold", "N" * 200, HOSTILE], 5)
    view.locator(".chip.held").click()
    eventually(lambda: lines(view) == sent, 5)
    picture(opened, "light")


def test_foreign_text_is_text(opened):
    view = opened.view(2)
    assert opened.page.evaluate("window.pwned") is None
    assert view.locator("img").count() == 0
    assert line(view, "onerror").locator(".toggle").get_attribute("aria-expanded") == "false"


def test_it_is_used_by_keyboard(opened):
    view, page = opened.view(2), opened.page
    line(view, "unfold").locator(".toggle").focus()
    page.keyboard.press("ArrowRight")
    view.locator(".joblist").wait_for()
    page.keyboard.press("ArrowLeft")
    assert view.locator(".joblist").is_hidden()
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.textContent") == "systematics"
    page.keyboard.press("x")  # cuts a cell in JupyterLab's command mode
    assert page.locator(".jp-Notebook .jp-CodeCell").count() == len(CELLS)
    line(view, "unfold").locator(".act.remove").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.textContent") == "Cancel"
    page.keyboard.press("Escape")
    view.locator(".question").wait_for(state="detached")
    assert len(queue(cluster_of("unfold"), "-af", "ProcId")) == 12


def test_a_job_is_released_held_and_edited_by_click(opened):
    view, cluster = opened.view(2), cluster_of("unfold")
    line(view, "unfold").locator(".toggle").click()
    job = view.locator(".jobs .job", has_text=f"{cluster}.3")
    job.hover()
    job.get_by_role("button", name=f"Release job {cluster}.3").click()
    assert queue(f"{cluster}.3", "-af", "JobStatus") == ["5"]  # not before the second click
    view.get_by_role("button", name=f"Release job {cluster}.3", exact=True).last.click()
    assert answered(view) == f"Job {cluster}.3 released."
    assert queue(f"{cluster}.3", "-af", "JobStatus") != ["5"]
    eventually(lambda: "held" not in job.inner_text(), 10)
    job.hover()
    job.get_by_role("button", name=f"Hold job {cluster}.3").click()
    view.locator(".question .yes").click()
    assert answered(view) == f"Job {cluster}.3 put on hold."
    assert queue(f"{cluster}.3", "-af", "JobStatus") == ["5"]
    eventually(lambda: "by a click in a notebook" in job.inner_text(), 10)
    assert "by a click" in job.locator(".told").get_attribute("title")
    line(view, "unfold").locator(".act.edit").click()
    view.get_by_label("new value").fill("1 GB")
    picture(opened, "edit")
    view.locator(".question .yes").click()
    assert answered(view) == "RequestMemory set in 12 jobs."
    assert set(queue(cluster, "-af", "RequestMemory")) == {"1024"}
    line(view, "unfold").locator(".toggle").click()


def test_a_click_is_heard_while_a_cell_runs(opened):
    view, cluster = opened.view(2), cluster_of("unfold")
    opened.run(3, wait=False)
    eventually(lambda: "*" in opened.prompt(3), 10)
    line(view, "unfold").locator(".act.release").click()
    view.locator(".question .yes").click()
    assert answered(view) == "12 jobs released."
    assert "*" in opened.prompt(3)
    assert "5" not in queue(cluster, "-af", "JobStatus")
    eventually(lambda: "*" not in opened.prompt(3), 30)


def test_without_subshells_a_click_waits_and_says_so(opened):
    view, cluster = opened.view(2), cluster_of("unfold")
    opened.page.evaluate("jupyterapp.serviceManager.kernels.commsOverSubshells = 'disabled'; 0")
    try:
        opened.run(3, wait=False)
        eventually(lambda: "*" in opened.prompt(3), 10)
        line(view, "unfold").locator(".act.hold").click()
        view.locator(".question .yes").click()
        view.get_by_text("queued, the kernel is busy").wait_for(timeout=5000)
        assert "5" not in queue(cluster, "-af", "JobStatus")
        assert answered(view) == "12 jobs put on hold."
        assert set(queue(cluster, "-af", "JobStatus")) == {"5"}
    finally:
        opened.page.evaluate("jupyterapp.serviceManager.kernels.commsOverSubshells = 'perCommTarget'; 0")


def test_what_condor_why_offers_is_done_by_click(opened):
    cluster = cluster_of("unfold")
    opened.run(4)
    fix = opened.output(4).locator(".htcmagic-fix", has_text=f"%condor_release {cluster}")
    fix.get_by_role("button", name="Do it").click()
    assert set(queue(cluster, "-af", "JobStatus")) == {"5"}
    fix.get_by_role("button", name="Yes").click()
    fix.get_by_text("12 jobs released.").wait_for(timeout=30000)
    assert "5" not in queue(cluster, "-af", "JobStatus")
    assert set(opened.saved(4)) == {"text/html", "text/plain"}
    assert "<button" not in "".join(opened.saved(4)["text/html"])


def test_its_age_goes_on_and_the_notebook_keeps_plain_html(opened):
    view = opened.view(2)
    seen = set()
    eventually(lambda: seen.add(view.locator(".age").inner_text()) or len(seen) > 2, 15)
    assert all(text.endswith("ago") for text in seen)
    assert set(opened.saved(2)) == {"text/html", "text/plain"}


@pytest.mark.parametrize("width", [1160, 760, 480, 380])
@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_it_fits_wide_and_narrow_light_and_dark(opened, width, theme):
    page, view = opened.page, opened.view(2)
    page.evaluate(
        f"jupyterapp.commands.execute('apputils:change-theme', {{theme: 'JupyterLab {theme}'}}).then(() => 0)"
    )
    page.set_viewport_size({"width": width, "height": 900})
    try:
        lum = "getComputedStyle(e).color.match(/[\\d.]+/g).slice(0, 3).reduce((a, b) => a + Number(b), 0)"
        toggle = view.locator(".toggle").first
        eventually(lambda: (toggle.evaluate(f"e => {lum}") > 400) == (theme == "Dark"), 10)
        picture(opened, f"{theme}-{width}".lower())
        box = view.bounding_box()
        for one in view.locator(".bar, .scroll").all():
            inside = one.bounding_box()
            assert width < 760 or one.evaluate("e => e.scrollWidth <= e.clientWidth + 1")
            assert inside["x"] >= box["x"] - 1
            assert inside["x"] + inside["width"] <= box["x"] + box["width"] + 1
    finally:
        page.set_viewport_size({"width": 1160, "height": 900})
        page.evaluate("jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Light'}).then(() => 0)")


def test_a_page_that_is_loaded_again_shows_it_again(opened):
    opened.page.reload()
    opened.page.wait_for_selector(".jp-NotebookPanel-toolbar [data-status=idle]", timeout=60000)
    view = opened.view(2)
    assert "unfold" in lines(view)
    eventually(lambda: view.locator(".age").inner_text().endswith("ago"), 15)


def test_the_cell_run_again_has_one_view_that_lives(opened):
    opened.run(2)
    view = opened.view(2)
    assert opened.output(2).locator(".htcmagic-live").count() == 1
    view.locator(".end").click()
    eventually(lambda: view.locator(".age").inner_text().startswith("stopped"), 10)
    view.get_by_role("button", name="Total").click()  # can still be looked into
    assert lines(view)[0] == "systematics"
    eventually(lambda: "stopped, as of" in "".join(opened.saved(2)["text/html"]), 10)


def test_twenty_thousand_jobs_are_scrolled(opened):
    opened.run(5)
    opened.run(6)
    view, cluster = opened.view(6), cluster_of("twenty-thousand")
    line(view, "twenty-thousand").locator(".toggle").click()
    view.get_by_text("20,000 jobs", exact=True).first.wait_for()
    jobs = view.locator(".jobs")
    assert jobs.locator(".job").count() < 30
    for place in (0.25, 0.5, 1.0):
        jobs.evaluate("(e, place) => { e.scrollTop = place * e.scrollHeight }", place)
        number = round(place * 20_000) - (11 if place == 1 else 0)
        jobs.get_by_text(f"{cluster}.{number}", exact=True).wait_for(timeout=5000)
    jobs.get_by_text(f"{cluster}.19999", exact=True).wait_for(timeout=5000)
    picture(opened, "twenty-thousand")
    view.get_by_role("searchbox").fill(f"{cluster}.1234")
    view.get_by_text("11 of 20,000 jobs").wait_for(timeout=5000)
    view.get_by_role("searchbox").fill("")
    line(view, "twenty-thousand").locator(".act.remove").click()
    view.locator(".question .yes").click()
    view.locator(".question.done").wait_for(timeout=60000)
    eventually(lambda: not queue(cluster, "-af", "ProcId"), 60)
    eventually(lambda: "all ended" in view.locator(".age").inner_text(), 60)
    assert "20,000 removed" in "".join(opened.saved(6)["text/html"])


def test_a_frozen_schedd_greys_the_table_until_it_is_back(opened):
    opened.run(7)
    view = opened.view(7)
    eventually(lambda: view.locator(".age").inner_text().endswith("ago"), 30)
    schedd = daemon(places.pool_dir(), "schedd")
    os.kill(schedd, signal.SIGSTOP)
    try:
        eventually(lambda: "stale" in view.get_attribute("class"), 60)
        assert view.locator(".age").inner_text().endswith("old")
        assert view.locator(".note").inner_text()
        picture(opened, "stale")
    finally:
        os.kill(schedd, signal.SIGCONT)
    eventually(lambda: "stale" not in view.get_attribute("class"), 60)
    opened.run(8)
    eventually(lambda: view.locator(".age").inner_text().startswith("stopped"), 10)


def test_a_cleared_output_ends_its_view(opened):
    opened.run(2)
    opened.view(2)
    opened.page.evaluate("jupyterapp.shell.currentWidget.content.activeCellIndex = 2; 0")
    opened.page.evaluate("jupyterapp.commands.execute('notebook:clear-cell-output').then(() => 0)")
    ended = "print('ended: ' + view.ended)"
    opened.page.evaluate(
        "code => jupyterapp.shell.currentWidget.content.widgets[8].model.sharedModel.setSource(code)", ended
    )

    def gone():
        opened.run(8)
        return "ended: gone" in opened.output(8).inner_text()

    eventually(gone, 30)


def test_a_view_whose_kernel_has_ended_says_so(opened):
    opened.run(2)
    view = opened.view(2)
    opened.page.evaluate("jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart().then(() => 0)")
    eventually(lambda: "kernel" in view.locator(".age").inner_text(), 40)
    assert view.locator(".act").first.is_hidden()
