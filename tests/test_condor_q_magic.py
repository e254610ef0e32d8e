"""%condor_q and its family as a user meets them: a real kernel on a real pool; slips, TAB, hostile text, faults."""

from __future__ import annotations

import os
import re
import shutil
import signal
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest
from conftest import Kernel
from pools import daemon, thaw
from test_queue_html import HOSTILE, Reader

from htcmagic import places
from htcmagic.errors import HTCMagicError, InstallError
from htcmagic.magics.options import parse
from htcmagic.magics.queue import QueueMagics, prepared, read
from htcmagic.pool import command
from htcmagic.pool.address import Pool
from htcmagic.pool.client import Client
from htcmagic.queue import listing_html
from htcmagic.queue.asking import NO_TEXT, ask
from htcmagic.queue.listing import Listing


@pytest.fixture(scope="module")
def kernel(pool, tmp_path_factory):
    started = Kernel(tmp_path_factory.mktemp("notebook"))
    assert started.run("%load_ext htcmagic").error is None
    outcome = started.run("%%condor -o c --hold --name tabbed\nexecutable = /bin/true\nqueue 3")
    assert outcome.error is None, outcome.error
    yield started
    started.run("%condor_rm -all")
    started.stop()


def matches(kernel, text):
    return kernel.client.complete(text, len(text), reply=True, timeout=30)["content"]["matches"]


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("%condor_q -ho", "-hold-codes"),
        ("%condor_q -auto", "-autocluster"),
        ("%condor_q --prin", "--print-format"),
        ("%condor_q -constraint 'JobSt", "JobStatus"),
        ("%condor_q -constraint 'JobStatus == 5 && Request", "RequestMemory"),
        ("%condor_q -c Hold", "HoldReasonCode"),
        ("%condor_q -af:jh Owner Exit", "ExitCode"),
        ("%condor_q -json -attributes Owner,Cl", "ClusterId"),
        ("%condor_history -since Exit", "ExitCode"),
        ("%condor_history -completed", "-completedsince"),
        ("%condor_status -comp", "-compact"),
        ("%condor_status -constraint Partit", "PartitionableSlot"),
        ("%condor_config -verb", "-verbose"),
    ],
)
def test_tab_offers(kernel, typed, offered):
    assert offered in matches(kernel, typed)


def test_tab_offers_my_clusters_with_their_names(kernel):
    cluster = kernel.run("print(c.id)").text.strip()
    line = f"%condor_q {cluster[:1]}"
    assert cluster in matches(kernel, line) or cluster == cluster[:1]
    reply = kernel.client.complete("%condor_q ", 10, reply=True, timeout=30)["content"]
    types = {one["text"]: one["type"] for one in reply["metadata"]["_jupyter_types_experimental"]}
    assert types[cluster] == "tabbed"
    assert "--suffixes" not in matches(kernel, "%condor_q --su")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("%condor_q -holdd", "%condor_q has no option -holdd. Did you mean --hold"),
        ("%condor_q -unmachable", "Did you mean --unmatchable?"),
        ("%condor_q -run -hold", "Say one of -run and -hold."),
        ("%condor_q -limit few", "invalid int value"),
        ("%condor_q -limit 0", "-limit 0: at least 1."),
        ("%condor_q -af", "expected at least one argument"),
        ("%condor_q -aaf Cmd", "-aaf goes with a view of one line a job."),
        ("%condor_q -af 'a and b'", "In a ClassAd expression 'and' is written &&"),
        ("%condor_q -constraint 'JobStatus = 5'", "Values are compared by =="),
        ("%condor_q -constraint 'Owner == \"alice'", "A quotation mark is not closed."),
        ("%condor_q -constraint '(a'", "The parentheses do not match."),
        ("%condor_q -constraint 'a >'", "It ends where a value is awaited."),
        ("%condor_q -constraint ''", "It is empty."),
        ("%condor_q -print-format nowhere.cpf", "nowhere.cpf"),
        ("%condor_q -jobads nowhere", "nowhere"),
        ("%condor_q 17,18 -hold", "Put spaces between ids"),
        ("%condor_q 'open", "No closing quotation"),
        ("%condor_status -compactt", "Did you mean -compact?"),
        ("%condor_status 'open", "No closing quotation"),
        ("%condor_history -lmit 3", "Did you mean -limit?"),
        ("%condor_userprio -setprio a 1", "has no option -setprio"),
        ("%condor_config -set 'A = 1'", "only shows"),
        ("%condor_version -arhc", "Did you mean -arch?"),
    ],
)
def test_slips_are_told_in_two_lines(kernel, line, said):
    outcome = kernel.run(line)
    lines = (outcome.text + (outcome.error[2] if outcome.error else "")).strip().splitlines()
    assert said in "\n".join(lines)
    assert 1 <= len(lines) <= 2
    assert not any("Traceback" in line for line in lines)


def test_attributes_that_no_job_has_are_told(kernel):
    outcome = kernel.run("%condor_q -constraint 'JobStatsu == 5 && Owner != \"x\"' -hold")
    assert outcome.error is None
    assert outcome.text == "No job in the queue has an attribute JobStatsu. Did you mean JobStatus?\n"
    assert kernel.run("%condor_q -constraint 'JobStatus == 77' -hold").text == ""
    assert "Foo" in kernel.run("%condor_q -constraint 'Foo == 5'").text


def test_every_magic_gives_a_table(kernel):
    for line in ("condor_q -hold", "condor_q -totals", "condor_status", "condor_history", "condor_userprio -allusers"):
        outcome = kernel.run(f"t = %{line}\nprint(type(t.to_dicts()), len(t[:1]) <= 1, t.columns is not None)")
        assert outcome.text == "<class 'list'> True True\n", (line, outcome.error)
    for line in (
        "condor_version",
        "condor_config SPOOL",
        "condor_q -json",
        "condor_q -nobatch",
        "condor_status -af Name",
    ):
        outcome = kernel.run(f"%{line}")
        assert outcome.error is None, outcome.error
        assert outcome.result.strip()
        Reader(outcome.data[-1]["text/html"])


# foreign text


@pytest.mark.parametrize("text", HOSTILE)
def test_foreign_text_stays_text(text):
    rows = [{"ID": "1.0", text: text, "N": 5}]
    listing = Listing(f"a\t{text}\n", columns=("ID", text, "N"), rows=rows, title=text, note=text)
    drawn = Listing(text, rows=rows, title=text, note=text, plain=True)
    for page in (listing._repr_html_(), drawn._repr_html_()):
        reader = Reader(page)
        assert reader.tags <= {"div", "span", "b", "pre", "table", "thead", "tbody", "tr", "th", "td"}
        assert reader.attributes <= {"style", "title"}
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff]", page)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", str(listing))
    assert str(listing).startswith("a\t")


def test_a_hostile_job_is_shown_harmless(kernel):
    outcome = kernel.run(
        '%%condor -o h --hold --name "<script>alert(1)</script>"\nexecutable = /bin/true\n'
        '+Evil = "\\033[31mred\\033[0m <b>x</b>"'
    )
    assert outcome.error is None, outcome.error
    for line in ("-af Evil", "-json", "-hold -aaf Evil", "-wide:100", "-long", "-xml"):
        outcome = kernel.run(f"%condor_q $h.id {line}".replace("$h.id", kernel.run("print(h.id)").text.strip()))
        assert outcome.error is None, outcome.error
        shown = outcome.data[-1]
        assert "\x1b" not in shown["text/plain"]
        assert "<script" not in shown["text/html"]
        assert "<b>x" not in shown["text/html"]


def test_only_some_hundred_rows_and_columns_are_drawn():
    rows = [{f"c{n}": n for n in range(40)} for _ in range(1234)]
    page = Listing("", rows=rows)._repr_html_()
    assert page.count("<tr") == listing_html.LIMIT + 1
    assert "… and 934 more rows" in page
    assert "… and 10 more columns" in page
    page = Listing("x\n" * 1234, plain=True)._repr_html_()
    assert "… and 934 more lines" in page


# faults


def options(line):
    return read(parse(QueueMagics.condor_q, prepared(line)))


def test_without_programs_there_is_data_and_a_way_to_the_text(kernel, pool, monkeypatch):
    monkeypatch.setattr(command, "path", lambda _name: None)
    client = Client(pool)
    try:
        table = ask(client, options("-hold"))
        assert table.text == NO_TEXT
        assert "htc-pool install" in table.text
        assert len(table) >= 3
        assert "<table" in table._repr_html_()
        assert "ClusterId = " in ask(client, options("-long")).text
        assert ask(client, options("-json"))[0]["JobStatus"] == 5
        assert ask(client, options("-af ProcId"))[0]["ProcId"] == 0
        for line in ("-totals", "-autocluster"):
            with pytest.raises(InstallError) as caught:
                ask(client, options(line))
            assert "htc-pool install" in caught.value.hint
    finally:
        client.close()


def test_a_frozen_schedd_is_given_up_and_the_kernel_stays_awake(pool, monkeypatch):
    monkeypatch.setattr(command, "ANSWER_S", 1.0)
    pid = daemon(places.pool_dir(), "schedd")
    beats = []
    stop = threading.Event()

    def beat():
        while not stop.wait(0.01):
            beats.append(time.monotonic())

    thread = threading.Thread(target=beat)
    os.kill(pid, signal.SIGSTOP)
    thread.start()
    try:
        with pytest.raises(HTCMagicError, match="has not answered within 1 s"):
            command.run(pool, "condor_q", ["-totals"], within_s=1.0)
    finally:
        thaw(places.pool_dir())
        stop.set()
        thread.join()
    assert len(beats) > 20
    assert max(later - sooner for sooner, later in pairwise(beats)) < 0.5


@pytest.mark.parametrize("line", ["%condor_q -totals", "%condor_q -hold", "%condor_q -autocluster"])
def test_ctrl_c_ends_a_question_to_a_frozen_schedd(kernel, pool, line):
    kernel.run("%condor_q -hold")
    pid = daemon(places.pool_dir(), "schedd")
    os.kill(pid, signal.SIGSTOP)
    try:
        kernel.run(line, send_only=True)
        time.sleep(1.5)
        asked = time.monotonic()
        kernel.manager.interrupt_kernel()
        outcome = kernel.collect(15)
        took = time.monotonic() - asked
    finally:
        thaw(places.pool_dir())
    assert took < 5
    assert outcome.error is not None
    assert "nterrupt" in outcome.error[2]


def test_nothing_is_left_in_the_folder_for_temporary_files(kernel, pool):
    before = set(Path("/tmp").glob("htcmagic-*"))
    kernel.run("%condor_q -json")
    kernel.run("%condor_status")
    assert set(Path("/tmp").glob("htcmagic-*")) <= before
    assert shutil.which("true")


def test_a_pool_that_is_not_there(kernel):
    outcome = kernel.run("%condor_status -pool 127.0.0.1:9")
    assert outcome.error is not None
    assert len(outcome.error[2].splitlines()) <= 2
    outcome = kernel.run("%condor_q -hold -name nowhere -pool 127.0.0.1:9")
    assert outcome.error is not None
    assert len(outcome.error[2].splitlines()) <= 2
    assert Pool("", "127.0.0.1:9").collector
