"""Clicks in a live view: what they do, what they refuse to, and when a kernel hears them."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import own_pool
from pools import eventually
from test_live_view import HELD, batch

from htcmagic.queue.live import clicks


@pytest.mark.parametrize(
    ("name", "value", "attribute"),
    [
        ("request_memory", "2 GB", {"RequestMemory": "2048"}),
        ("request_memory", "1.5g", {"RequestMemory": "1536"}),
        ("request_memory", "700", {"RequestMemory": "700"}),
        ("request_disk", "1 GB", {"RequestDisk": "1048576"}),
        ("request_cpus", "4", {"RequestCpus": "4"}),
        ("priority", "-3", {"JobPrio": "-3"}),
        ("request_memory", "lots", None),
        ("request_memory", "0", None),
        ("request_memory", "1; rm", None),
        ("request_cpus", "0", None),
        ("priority", "\x1b[31m", None),
        ("Owner", '"bob"', None),
    ],
)
def test_what_can_be_set_by_a_click(name, value, attribute):
    if attribute is None:
        with pytest.raises(clicks.HTCMagicError) as refused:
            clicks._changes(name, value)
        assert refused.value.message.isprintable()
    else:
        assert clicks._changes(name, value) == attribute


@pytest.fixture
def clicked(pool, kernel):
    """Send three jobs on hold, and click on them."""
    from htcmagic.pool.client import Client

    outcome = kernel.run(f"%%condor --name clicks -o sent\n{HELD}queue 3")
    cluster = int(re.search(r"\((\d+)\)", outcome.result)[1])
    client = Client(pool)
    looked = batch("HHH", cluster=cluster)

    def click(action, count, ids=(), key=str(cluster), **more):
        asked = {"action": action, "key": key, "ids": list(ids), "count": count, **more}
        said = clicks.outcome(asked, [looked], lambda _pool: client)
        rows = client.query(f"ClusterId == {cluster}", ["ProcId", "JobStatus", "RequestMemory", "JobPrio"]).rows
        return said, sorted(rows)

    yield SimpleNamespace(click=click, cluster=cluster)
    click("remove", 3)
    client.close()


def test_a_click_does_what_the_magic_does(clicked):
    cluster = clicked.cluster
    said, rows = clicked.click("release", 1, [f"{cluster}.1"])
    assert said == {"ok": True, "says": f"Job {cluster}.1 released."}
    assert [row[1] == 5 for row in rows] == [True, False, True]
    said, rows = clicked.click("hold", 1)
    assert said == {"ok": True, "says": "1 job put on hold, 2 were held already."}
    assert {row[1] for row in rows} == {5}
    said, rows = clicked.click("edit", 3, name="request_memory", value="1 GB")
    assert said["says"] == "RequestMemory set in 3 jobs."
    assert {row[2] for row in rows} == {1024}
    said, rows = clicked.click("edit", 1, [f"{cluster}.2"], name="priority", value="7")
    assert [row[3] for row in rows] == [0, 0, 7]
    said, rows = clicked.click("hold", 3)
    assert not said["ok"]
    assert "held already" in said["says"] or "ended already" in said["says"]


def test_a_click_never_does_more_than_was_agreed_to(clicked):
    said, rows = clicked.click("remove", 2)
    assert said == {"ok": False, "says": "Nothing done yet: by now it is 3 jobs.", "count": 3}
    for ids in (["1.0"], ["x"], ["1.0 || true"], [f"{clicked.cluster}.0"] * 2000):
        said, rows = clicked.click("remove", 9999, ids)
        assert said["says"] == "These are no jobs of this batch."
    said, rows = clicked.click("remove", 3, key="999")
    assert said["says"] == "These jobs are no longer watched."
    assert len(rows) == 3


def test_other_peoples_jobs_are_left_alone(tmp_path_factory, tmp_path):
    from htcmagic.pool import command
    from htcmagic.pool.client import Client

    with own_pool(tmp_path_factory.mktemp("bobs")) as (address, _):
        with Path(address.config).open("a") as file:
            file.write("\nQUEUE_SUPER_USER_MAY_IMPERSONATE = .*\n")
        command.run(address, "condor_reconfig", ["-daemon", "schedd"])
        (tmp_path / "bob.sub").write_text('executable = /bin/true\nhold = true\nMy.Owner = "bob"\nqueue 2\n')
        client = Client(address)
        try:
            eventually(lambda: command.run(address, "condor_submit", [str(tmp_path / "bob.sub")]).status == 0, 20)
            click = {"action": "release", "key": "1", "count": 2}
            said = clicks.outcome(click, [batch("HH", cluster=1)], lambda _pool: client)
            assert not said["ok"]
            assert re.fullmatch(r"Nothing done: 2 of 2 jobs are not yours but of bob@\S+\.", said["says"])
            assert len(client.query("JobStatus == 5", ["ProcId"]).rows) == 2
        finally:
            client.close()


def test_a_widget_answers_clicks_when_the_kernel_is_idle_again(kernel):
    """The protocol as a browser speaks it, without one."""
    cluster = re.search(r"\((\d+)\)", kernel.run(f"%%condor --name clicked\n{HELD}queue 2").result)[1]
    shown = kernel.run("view = %condor_watch clicked --form widget")
    place = re.search(r'class="htcmagic-watch htcmagic-(\w+)"', shown.data[0]["text/html"])
    assert place
    model = kernel.run("print(view._widget._widget.comm.comm_id)").text.strip()

    def send(content):
        said = {"comm_id": model, "data": {"method": "custom", "content": content}}
        kernel.client.shell_channel.send(kernel.client.session.msg("comm_msg", said))

    def heard(kind):
        while True:
            message = kernel.client.get_iopub_msg(timeout=30)
            content = message["content"].get("data", {}).get("content", {}) if "comm" in message["msg_type"] else {}
            if content.get("kind") == kind and (kind != "table" or content["number"] == 0):
                return content

    send({"kind": "hello"})
    assert heard("table")["rows"][0]["counts"] == {"held": 2}
    kernel.run("import time; time.sleep(1)", send_only=True)
    send({"kind": "click", "id": "one", "action": "release", "key": "?", "ids": [], "count": 2})
    assert heard("ack")["id"] == "one"
    assert heard("outcome")["says"] == "These jobs are no longer watched."
    key = kernel.run("print(view.table.batches[0].key)").text.strip("\n")
    send({"kind": "click", "id": "two", "action": "remove", "key": key, "ids": [], "count": 2})
    assert heard("outcome") | {"heard": 0} == {
        "kind": "outcome",
        "id": "two",
        "ok": True,
        "says": "2 jobs marked for removal.",
        "heard": 0,
    }
    assert kernel.run("for n in range(80):\n    time.sleep(.1)\nprint(view.ended)").text == "all ended\n"
    send({"kind": "gone"})
    kernel.run(f"left = %condor_q {cluster}")
    assert kernel.run("print(len(left))").text == "0\n"
    assert kernel.run("print(view._widget._widget.comm is None)").text == "True\n"
