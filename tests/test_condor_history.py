"""%condor_history against the real condor_history: both read the same real history."""

from __future__ import annotations

import re
import shlex
import time

import pytest
from test_queue_text import HELD, real_pool  # noqa: F401 - the fixture

from htcmagic.errors import CellError
from htcmagic.queue import history as module
from htcmagic.queue.history import history


@pytest.fixture(scope="module")
def past(real_pool):  # noqa: F811
    """Let jobs of many kinds end; yield their clusters by name."""
    h, schedd = real_pool.htcondor2, real_pool.client.bindings

    def submit(text, count=1):
        return schedd.submit(h.Submit(text), count=count).cluster()

    quick = "request_memory = 1\nrequest_disk = 1\nexecutable = /bin/sh\n"
    ids = {
        "good": submit(quick + "arguments = -c true\n", 3),
        "bad": submit(quick + "arguments = \"-c 'exit 3'\"\n"),
        "removed": submit(HELD, 40),
        "long": submit(HELD.replace("/bin/sleep", "/tmp/" + "p" * 200) + f'+JobBatchName = "{"b" * 200}"\n'),
        "unicode": submit(HELD.replace("/bin/sleep", "/tmp/prögrämm-測定").replace("$(Process)", "\"'ä b' ß\"")),
        "described": submit(HELD + "description = Größe & <b>\n"),
        "escapes": submit(HELD + '+Odd = "a\\tb\\n\\nc"\n'),
    }
    schedd.act(h.JobAction.Remove, "JobStatus == 5")
    deadline = time.monotonic() + 60
    wanted = " || ".join(f"ClusterId == {n}" for n in ids.values())
    while schedd.query(wanted, ["ClusterId"]):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    while real_pool.tool("condor_history", "-constraint", wanted, "-af", "ClusterId").count(b"\n") < 48:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return ids


LINES = [
    *("", "-limit 5", "-limit 3 -wide", "-forwards -limit 4", "-af ClusterId ProcId", "-af:jh Owner Cmd JobStatus==3"),
    *("-af:V Odd Requirements", r"-format '%d.' ClusterId -format '%d\n' ProcId", "-limit 2 -json", "-limit 2 -long"),
    *("-limit 2 -xml", "-limit 3 -jsonl", "-long -attributes ClusterId,ProcId,Cmd", "-constraint 'ProcId == 2'"),
    *("-constraint false", "GOOD", "BAD.0", "GOOD REMOVED", "ME -limit 3", "nosuchuser", "-since REMOVED.20"),
    *("-scanlimit 7", "-completedsince 1", "-m 2 -af ProcId", "-wide:60", "-wide:60 -limit 2", "999999"),
]


@pytest.mark.parametrize("line", LINES)
def test_same_bytes_as_condor_history(real_pool, past, line):  # noqa: F811
    line = line.replace("GOOD", str(past["good"])).replace("BAD", str(past["bad"]))
    line = line.replace("REMOVED", str(past["removed"])).replace("ME", real_pool.client.schedd.me)
    words = shlex.split(line)
    table = history(real_pool.client, words)
    assert table.text == real_pool.tool("condor_history", *words).decode()
    assert table.note == ""


def test_jobs_as_data(real_pool, past):  # noqa: F811
    good = history(real_pool.client, [str(past["good"])])
    assert good.columns == ("ID", "OWNER", "SUBMITTED", "RUN_TIME", "ST", "COMPLETED", "CMD")
    assert {row["ID"] for row in good} == {f"{past['good']}.{proc}" for proc in range(3)}
    assert all(row["ST"] == "C" and row["COMPLETED"] >= row["SUBMITTED"] for row in good)
    assert [row["ID"] for row in good] == re.findall(r"(?m)^ *(\d+\.\d+)", good.text)
    removed = history(real_pool.client, [str(past["removed"]), "-limit", "4"])
    assert [row["COMPLETED"] for row in removed] == [None] * 4
    assert str(removed.to_dataframe()["SUBMITTED"].dtype).startswith("datetime64")


def test_values_and_ads_as_data(real_pool, past):  # noqa: F811
    table = history(real_pool.client, [str(past["bad"]), "-af", "ExitCode", "ExitCode * 2.5", "Nothing"])
    assert table.to_dicts() == [{"ExitCode": 3, "ExitCode * 2.5": 7.5, "Nothing": None}]
    (ad,) = history(real_pool.client, [str(past["escapes"]), "-json"])
    assert ad["Odd"] == "a\tb\n\nc"
    (ad,) = history(real_pool.client, [str(past["unicode"]), "-long"])
    assert ad["Cmd"] == "/tmp/prögrämm-測定"


def test_a_search_that_takes_too_long_shows_what_it_found(real_pool, past, monkeypatch):  # noqa: F811
    whole = history(real_pool.client, ["-json"])
    monkeypatch.setattr(module, "SEARCH_S", 0.0)
    with pytest.raises(Exception, match="has not answered within"):
        history(real_pool.client, [])
    assert len(whole) >= 48


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-limt", "3"], "Did you mean -limit?"),
        (["-constraint", "a and b"], "is written &&"),
        (["-format", "%s"], "a value is missing"),
    ],
)
def test_slips(real_pool, words, said):  # noqa: F811
    with pytest.raises(CellError) as caught:
        history(real_pool.client, words)
    assert said in str(caught.value)
