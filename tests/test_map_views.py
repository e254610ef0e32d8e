"""What a map shows: its bar, progress told by jobs, the time left, hostile names."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pools import eventually

import htcmagic
from htcmagic.functions import mapping, tags
from htcmagic.functions.mapview import Look
from htcmagic.jobs.model import JobState
from htcmagic.jobs.tracker import GENERIC, Tracker

PATIENCE_S = 60


@pytest.fixture(autouse=True)
def swept(pool: Any) -> Iterator[None]:
    """Leave no map behind."""
    before = set(tags.known())
    yield
    for one in list(mapping._loaded.values()):
        one.delete()
    assert set(tags.known()) <= before


def test_progress_told_in_a_job_moves_the_bar():
    def steps(x):
        import pathlib
        import time as clock

        htcmagic.progress(1, 4)
        while not pathlib.Path(x).exists():
            clock.sleep(0.05)

    go = Path(os.environ["HTCMAGIC_HOME"]) / "go"
    made = htcmagic.map(steps, [str(go)], chunk=1)
    eventually(lambda: made.refresh() and Look(made._run).through == "25 %")
    assert "1 running, 25 %" in repr(made)
    assert "1 running (25 %)" in repr(made.clusters[0])
    bar = Look(made._run).html()
    assert 'title="0 done" style="width:25.000%' in bar
    assert 'title="1 running" style="width:75.000%' in bar
    assert 'style="width:75.000%;background:#2f7ed8"' in made.clusters[0]._views._data()["text/html"]
    go.touch()
    made.wait(PATIENCE_S)
    go.unlink()
    assert Look(made._run).through == ""


@pytest.mark.parametrize(
    "text",
    [
        "hello",
        "htcmagic ",
        "htcmagic {",
        "htcmagic []",
        'htcmagic {"progress": 5}',
        'htcmagic {"progress": [1, 0]}',
        'htcmagic {"progress": ["a", "b"]}',
        'htcmagic {"progress": [NaN, 1]}',
        'htcmagic {"progress": [1, 2, 3]}',
        "htcmagic " + "[" * 5000,
    ],
)
def test_events_that_anybody_may_write_do_no_harm(text):
    tracker = Tracker(1, 1)
    tracker.apply([(1, 1, 0, 0.0, ("host", "slot"))])
    assert tracker.apply([(GENERIC, 1, 0, 0.0, (text,))]) == set()
    assert tracker.summary().progress == 0
    tracker.apply([(GENERIC, 1, 0, 0.0, ('htcmagic {"progress": [9, 3], "task": 7}',))])
    assert tracker.summary().progress == 1
    tracker.apply([(5, 1, 0, 1.0, (True, 0, None))])
    assert (tracker.summary().progress, tracker.state(0)) == (0, JobState.DONE)


def test_its_html_escapes_what_others_have_written():
    def fail(x):
        raise ValueError("<script>alert(1)</script>\x1b[31m")

    made = htcmagic.map(fail, [1], tag="<b>bold").wait(PATIENCE_S)
    shown = made._views.data()
    assert "<script>" not in shown["text/html"]
    assert "&lt;b&gt;bold" in shown["text/html"]
    assert "\x1b" not in shown["text/html"] + shown["text/plain"]


def test_a_notebook_shows_a_live_bar_and_remote_errors_alone(kernel):
    shown = kernel.run(
        "import htcmagic, time\ndef slow(x):\n    time.sleep(0.2)\n    return 1 / x\n"
        "m = htcmagic.map(slow, [1, 2, 4], tag='live')\nm"
    )
    assert "live" in shown.data[0]["text/plain"]
    assert "htcmagic-map" in shown.data[0]["text/html"]
    waited = kernel.run("print(m.wait(60)[1], list(m))")
    assert waited.text == "0.5 [1.0, 0.5, 0.25]\n"
    updates = [*shown.updates, *waited.updates, *kernel.run("time.sleep(0.6)").updates]
    assert any("3&nbsp;done" in update["text/html"] for update in updates)
    failed = kernel.run("list(htcmagic.map(slow, [1, 0]))")
    assert failed.error[0] == "ZeroDivisionError"
    assert "Traceback (in the job" in failed.error[2]
    assert "Notebook cell, line 4, in slow" in failed.error[2]
    assert "htcmagic/" not in failed.error[2].replace(os.environ["HTCMAGIC_HOME"], "")
    unseen = kernel.run("import time\nhtcmagic.map(lambda x: time.sleep(2.5), [1]).results()")
    assert "htcmagic-map" in unseen.data[0]["text/html"], "waiting for long shows the bar by itself"
    assert kernel.run("[htcmagic.load(t).delete() for t in ('live', 'slow-1', 'map-1')]").error is None


def test_time_left_is_told_when_it_can_be():
    import time as clock

    def brief(x):
        clock.sleep(1)

    made = htcmagic.map(brief, range(12), chunk=1)
    eventually(lambda: made.refresh() and re.search(r"about \d+ s left", repr(made)))
    made.rm()
    assert time.time() - made._run.told["created"] < PATIENCE_S
