"""The answer of a queue as a Python object, on rows made by hand."""

import dataclasses
import sys
from datetime import UTC, datetime, timedelta

import pytest
from test_queue_html import NOW, batch, job, table

from htcmagic.errors import HTCMagicError
from htcmagic.queue import BatchRow, JobRow, QueueTable, Snapshot, Totals
from htcmagic.queue.rows import count


def test_rows_of_jobs():
    rows = table([job(0, status=2), job(1, status=5)], nobatch=True)
    assert len(rows) == 2
    assert rows[0] == JobRow(
        cluster=17,
        proc=0,
        owner="alice",
        submitted=datetime.fromtimestamp(NOW - 90_000, UTC),
        run_time=timedelta(seconds=100),
        status=2,
        state="R",
        priority=0,
        size_mb=2.0,
        command="sleep 100",
    )
    assert rows[-1].state == "H"
    assert [row.id for row in rows] == ["17.0", "17.1"]
    assert rows[:1] == (rows[0],)
    assert rows[0] in rows
    with pytest.raises(IndexError):
        rows[2]
    with pytest.raises(dataclasses.FrozenInstanceError):
        rows[0].proc = 5


def test_rows_of_batches():
    rows = table([batch(0), batch(1, status=2), batch(3, status=5), batch(cluster=18, name=None)], nobatch=False)
    first = BatchRow(
        owner="alice",
        batch_name="fits",
        submitted=datetime.fromtimestamp(NOW - 90_000, UTC),
        done=7,
        run=1,
        idle=1,
        hold=1,
        total=10,
        job_ids="17.0-3",
    )
    assert rows[0] == first
    assert [row.batch_name for row in rows] == ["fits", "ID: 18"]
    assert rows.to_dicts()[0] == {
        "OWNER": "alice",
        "BATCH_NAME": "fits",
        "SUBMITTED": first.submitted,
        "DONE": 7,
        "RUN": 1,
        "IDLE": 1,
        "HOLD": 1,
        "TOTAL": 10,
        "JOB_IDS": "17.0-3",
    }


def test_text_is_shown_by_print_and_by_a_terminal():
    rows = table([job(0)], nobatch=True)
    assert str(rows) == repr(rows) == rows.text
    lines = rows.text.splitlines()
    assert lines[:2] == ["", ""]
    assert lines[2].startswith("-- Schedd: submit.example.org : <127.0.0.1:9618?... @ ")
    assert lines[3] == " ID      OWNER            SUBMITTED     RUN_TIME ST PRI SIZE CMD"
    assert lines[6:9] == [
        "Total for query: 1 jobs; 0 completed, 0 removed, 1 idle, 0 running, 0 held, 0 suspended ",
        "Total for alice@example.org: 1 jobs; 0 completed, 0 removed, 1 idle, 0 running, 0 held, 0 suspended ",
        "Total for all users: 1234 jobs; 0 completed, 0 removed, 1000 idle, 234 running, 0 held, 0 suspended",
    ]


def test_rows_are_made_only_when_asked_for():
    rows = table([job(proc) for proc in range(1000)], nobatch=True)
    assert rows.text.count("\n") > 1000
    rows._repr_html_()
    assert len(rows) == 1000
    assert "rows" not in vars(rows)
    assert rows[999].proc == 999
    assert "rows" in vars(rows)


NONSENSE = [None, "text", True, -1, 10**30, float("nan"), float("inf"), -1e300]


@pytest.mark.parametrize("value", NONSENSE)
def test_nonsense_in_ads_harms_nobody(value):
    """Anybody can put anything into his job's ad, and others look at it."""
    jobs = [(17, 0, 2, *[value] * 17), job(1)]
    rows = table(jobs, nobatch=True)
    assert "17.1" in rows.text.replace("  ", "")
    assert "17.1" in rows._repr_html_()
    assert len(list(rows)) == 2
    for place in range(2, 20):
        assert table([(17, 0, 1, *[value if at == place else None for at in range(3, 20)])], nobatch=True).text
    rows = table([(17, 0, 2, *[value] * 10), batch(cluster=18)], nobatch=False)
    assert "18.0" in rows.text
    assert "18.0" in rows._repr_html_()


def test_dags_that_contain_each_other_are_all_shown():
    def node(cluster, dag):
        return (cluster, 0, 1, 5, "alice", NOW, None, dag, "A", None, None, 1, None)

    rows = [node(5, 6), node(6, 5), node(7, 7), *(node(cluster, cluster - 1) for cluster in range(8, 3000))]
    snapshot = Snapshot(rows, "s", "<a>", NOW, count(rows))
    shown = QueueTable(snapshot, nobatch=False)
    assert sum(row.idle for row in shown) == len(rows)


def test_totals_count_jobs_but_no_dagman():
    rows = [batch(proc, status=status) for proc, status in enumerate([1, 2, 6, 5, 7, 4, 3])]
    rows.append((*batch(9, status=2)[:3], 7, *batch(9)[4:]))
    assert count(rows) == Totals(jobs=7, completed=1, removed=1, idle=1, running=2, held=1, suspended=1)


def test_data_frame():
    pd = pytest.importorskip("pandas")
    frame = table([job(0, status=2), job(1)], nobatch=True).to_dataframe()
    assert list(frame.columns) == ["ID", "OWNER", "SUBMITTED", "RUN_TIME", "ST", "PRI", "SIZE", "CMD"]
    assert frame["RUN_TIME"][0] == pd.Timedelta(seconds=100)
    assert frame["SUBMITTED"].dt.tz is not None
    frame = table([batch(0)], nobatch=False).to_dataframe()
    assert frame["TOTAL"].sum() == 10
    for nobatch in (False, True):
        empty = table([], nobatch=nobatch).to_dataframe()
        assert len(empty) == 0
        assert "SUBMITTED" in empty


def test_data_frame_without_pandas(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(HTCMagicError, match="pandas") as caught:
        table([job(0)], nobatch=True).to_dataframe()
    assert "to_dicts" in caught.value.hint
