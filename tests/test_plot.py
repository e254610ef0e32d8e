"""Jobs over time: from the log of real jobs, as matplotlib's axes and as SVG; and many of them fast enough."""

from __future__ import annotations

import subprocess
import sys
import time
from xml.etree import ElementTree as ET

import matplotlib as mpl
import pytest

mpl.use("agg")

from matplotlib import pyplot as plt

from htcmagic.errors import CellError, NoSuchJob
from htcmagic.queue import plot as plots
from htcmagic.queue.plot import COLOURS, Drawing, draw, plot
from htcmagic.queue.timeline import ATTRIBUTES, Timeline, from_rows, from_story

TERMINATED = (True, 0, "", 1, 1, 1, 1, 1)
FAILED = (True, 3, "", 1, 1, 1, 1, 1)
PATIENCE_S = 20.0
HOSTILE = '<script>alert("x")</script> $\\frac{1}$ \x1b[31m'


@pytest.fixture(autouse=True)
def no_figures_left():
    yield
    plt.close("all")


def story(*events):
    return {"events": list(events), "memory_mib": {}, "partial": False}


@pytest.fixture
def mixed():
    """Six jobs with different fates, at 100 s."""
    events = [(0, proc, 0.0, ()) for proc in range(6)]
    events += [(1, proc, 10.0, ((1, 1, 1),)) for proc in range(5)]
    events += [
        (5, 0, 50.0, TERMINATED),
        (5, 1, 60.0, FAILED),
        (12, 2, 40.0, (34, "")),
        (9, 3, 30.0, ()),
    ]
    return Timeline("mixed (7)", from_story(7, story(*events), now=100.0))


def test_spans_follow_the_events(mixed):
    assert mixed.jobs[0].spans == [("idle", 0.0, 10.0), ("running", 10.0, 50.0)]
    assert mixed.jobs[2].spans[-1] == ("held", 40.0, 100.0)
    assert [job.outcome for job in mixed.jobs] == ["done", "failed", "", "removed", "", ""]
    assert mixed.counts == {"done": 1, "failed": 1, "removed": 1, "running": 1, "held": 1, "idle": 1}


def test_states_over_time_add_up(mixed):
    times, counts = mixed.over_time()
    assert times == [0, 10, 30, 40, 50, 60, 100]
    assert counts["running"] == [0, 5, 4, 3, 2, 1, 1]
    assert counts["idle"] == [6, 1, 1, 1, 1, 1, 1]
    assert counts["held"] == [0, 0, 0, 1, 1, 1, 1]
    assert {sum(column) for column in zip(*counts.values(), strict=True)} == {6}


def test_held_released_and_run_again():
    events = ((0, 0, 0.0, ()), (13, 0, 5.0, ()), (1, 0, 6.0, (None,)), (4, 0, 8.0, ()), (1, 0, 9.0, (None,)))
    (job,) = from_story(7, story(*events, (5, 0, 12.0, TERMINATED)), held=True)
    assert [span[0] for span in job.spans] == ["held", "idle", "running", "idle", "running"]
    assert job.ended == 12.0


def test_ads_tell_nearly_as_much():
    values = {"ClusterId": 7, "QDate": 100, "JobStatus": 4, "JobCurrentStartDate": 110, "CompletionDate": 150}
    values |= {"ExitCode": 0, "NumShadowStarts": 2}
    rows = [tuple({**values, "ProcId": 0}.get(name) for name in ATTRIBUTES)]
    held = values | {"ProcId": 1, "JobStatus": 5, "EnteredCurrentStatus": 130, "CompletionDate": None}
    rows.append(tuple(held.get(name) for name in ATTRIBUTES))
    rows.append(tuple("nonsense" for _ in ATTRIBUTES))
    lines, again = from_rows(rows, now=200.0)
    assert again == 2
    assert lines[0].spans == [("idle", 100, 110), ("running", 110, 150)]
    assert lines[1].spans == [("idle", 100, 110), ("running", 110, 130), ("held", 130, 200)]


def test_matplotlib_draws_both_with_labels_and_units(mixed):
    above, below = draw(mixed, "both")
    assert above.get_ylabel() == "job"
    assert below.get_ylabel() == "jobs"
    assert below.get_xlabel().startswith("seconds since the first submission, ")
    named = {text.get_text() for text in above.get_legend().get_texts()}
    assert named == set(COLOURS)
    above.figure.canvas.draw()
    labels = [tick.get_text() for tick in above.get_yticklabels()]
    assert "7.0" in labels


def test_an_ax_of_ones_own(mixed):
    _, ax = plt.subplots()
    assert draw(mixed, "over-time", ax) is ax
    assert ax.get_title(loc="left").startswith("mixed (7): 1 done, 1 failed")


def test_foreign_text_is_neither_markup_nor_formula(mixed):
    mixed.title = HOSTILE
    ax = draw(mixed, "jobs")
    ax.figure.canvas.draw()
    svg = Drawing(mixed, "both", COLOURS, 300).svg
    assert "<script>" not in svg
    assert "\x1b" not in svg
    texts = [element.text for element in ET.fromstring(svg).iter() if element.text]  # noqa: S314 - ours
    assert any("$\\frac{1}$" in text for text in texts)


def test_the_svg_has_the_same_information(mixed):
    drawing = Drawing(mixed, "both", COLOURS, 4)
    svg = drawing._repr_svg_()
    for text in (
        "idle",
        "running",
        "held",
        "done",
        "failed",
        "removed",
        "7.0",
        "the first 4 of 6 jobs",
        "seconds since",
    ):
        assert text in svg, text
    assert str(drawing).startswith("mixed (7): 1 done")


def many(number):
    events = []
    for proc in range(number):
        start = proc * 0.5
        events += [(0, proc, 0.0, ()), (1, proc, start, (None,)), (5, proc, start + 300, TERMINATED)]
    return Timeline("many", from_story(7, story(*events)))


@pytest.mark.parametrize("kind", ["jobs", "over-time"])
def test_ten_thousand_jobs_are_drawn_soon(kind, tmp_path):
    line = many(10_000)
    begun = time.monotonic()
    draw(line, kind).figure.savefig(tmp_path / "jobs.png")
    assert len(Drawing(line, kind, COLOURS, 300).svg) < 500_000
    assert time.monotonic() - begun < PATIENCE_S


def test_the_magic_draws_real_jobs(kernel):
    assert kernel.run("%%condor --name drawn\nexecutable = /bin/true\nqueue 3").error is None
    assert kernel.run("%condor_wait drawn").error is None
    outcome = kernel.run("ax = %condor_plot drawn\nprint(ax.get_title(loc='left'))")
    assert outcome.error is None, outcome.error
    assert "3 done" in outcome.text
    assert "image/png" in outcome.data[-1]
    line = plots.timeline_of(plots.selection.read(plots.selection.choices("drawn"), ATTRIBUTES, limit=10))
    assert [[span[0] for span in job.spans] for job in line.jobs] == [["idle", "running"]] * 3
    both = kernel.run("%condor_plot drawn -jobs -over-time")
    assert both.error is None, both.error
    assert any("image/png" in data for data in both.data)


def test_what_cannot_be_drawn_says_so(pool):
    with pytest.raises(NoSuchJob, match="neither in the queue nor in the history"):
        plot("nothing-like-it")
    with pytest.raises(CellError, match="no plot 'pie'"):
        plot("x", kind="pie")


def test_without_matplotlib_there_is_an_svg():
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from htcmagic.queue.plot import draw\n"
        "from htcmagic.queue.timeline import Timeline, JobLine\n"
        "from htcmagic.jobs.model import JobId\n"
        "line = Timeline('t', [JobLine(JobId(1, 0), [('idle', 1.0, 2.0)])])\n"
        "print(draw(line, 'jobs')._repr_svg_()[:4])\n"
        "try: draw(line, 'jobs', object())\n"
        "except Exception as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "<svg",
        "Drawing into an ax needs matplotlib, which is not installed in this kernel.",
        "%pip install matplotlib, or leave ax out for an SVG",
    ]
