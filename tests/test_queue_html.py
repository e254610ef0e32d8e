"""The HTML of a queue: what strangers wrote into their jobs must stay text."""

import html
import re
import time
from html.parser import HTMLParser

import pytest

from htcmagic.queue import QueueTable, Snapshot, Totals
from htcmagic.queue.html import LIMIT, escape
from htcmagic.queue.rows import count

NOW = 1_795_219_000
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</td></table></div><iframe srcdoc=x>",
    "\x1b[31mred\x1b[0m\x07",
    "a\x00b\nc\rd\te\x7f\x9b31m",
    "abc\u202ecba\u2066x\u200b\ufeff",
    "&lt;b&gt;",
    "\udce9t\udce9",
    "javascript:alert(1)",
    "`${1}` {{x}} $$x^2$$",
]


class Reader(HTMLParser):
    """Collects the tags and attributes of a page, and checks that tags are closed in order."""

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.attributes, self.words = [], set(), set(), []
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def job(proc=0, *, status=1, owner="alice", program="/bin/sleep", arguments="100", cluster=17):
    return (
        *(cluster, proc, status, 5, owner, NOW - 90_000, NOW - 100, 5.0, None, None, None, None, 0, 2048, None),
        *(program, arguments, None, None, None),
    )


def batch(proc=0, *, status=1, owner="alice", name="fits", cluster=17):
    return (cluster, proc, status, 5, owner, NOW - 90_000, name, None, None, None, None, 10, None)


def table(rows, *, nobatch, schedd="submit.example.org", me="alice@example.org"):
    everyone = Totals(1234, 0, 0, 1000, 234, 0, 0)
    snapshot = Snapshot(rows, schedd, "<127.0.0.1:9618?addrs=x>", NOW, count(rows), me, count(rows), everyone)
    return QueueTable(snapshot, nobatch=nobatch)


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("nobatch", [False, True])
def test_foreign_text_stays_text(text, nobatch):
    rows = [job(owner=text, program=text, arguments=text)] if nobatch else [batch(owner=text, name=text)]
    page = table(rows, nobatch=nobatch, schedd=text, me=text)._repr_html_()
    reader = Reader(page)
    assert reader.tags <= {"div", "span", "b", "table", "thead", "tbody", "tr", "th", "td"}
    assert reader.attributes <= {"style", "title"}
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]", page)
    page.encode()


def test_escape_keeps_ordinary_text_and_shows_control_codes():
    assert escape("prögrämm 測定 --x=1") == "prögrämm 測定 --x=1"
    assert escape("a\x1b[1m\n") == "a\u241b[1m\u240a"
    assert html.unescape(escape("<&'\">")) == "<&'\">"
    assert len(escape("x" * 10**6)) == 400


def test_a_long_queue_is_drawn_in_part():
    rows = [job(proc) for proc in range(LIMIT + 1234)]
    started = time.perf_counter()
    page = table(rows, nobatch=True)._repr_html_()
    assert time.perf_counter() - started < 1
    assert page.count("<tr") == LIMIT + 1
    assert "… and 1,234 more jobs" in page
    batches = [batch(cluster=number, name=str(number)) for number in range(1, LIMIT + 2)]
    page = table(batches, nobatch=False)._repr_html_()
    assert page.count("<tr") == LIMIT + 1
    assert "… and 1 more batch<" in page


def test_states_have_letter_and_colour():
    rows = [job(proc, status=status) for proc, status in enumerate([1, 2, 3, 4, 5, 6, 7])]
    page = table(rows, nobatch=True)._repr_html_()
    pills = re.findall(r'title="([\w ]+)" style="[^"]*background:(#\w+)[^"]*">([^<]+)</span></td>', page)
    assert [(title, html.unescape(letter)) for title, _, letter in pills] == [
        ("idle", "I"),
        ("running", "R"),
        ("removed", "X"),
        ("completed", "C"),
        ("held", "H"),
        ("sending output", ">"),
        ("suspended", "S"),
    ]
    assert len({colour for _, colour, _ in pills}) == 6


def test_batches_show_hold_only_when_needed():
    page = table([batch(0), batch(1, status=2)], nobatch=False)._repr_html_()
    assert ">HOLD<" not in page
    page = table([batch(0), batch(1, status=5)], nobatch=False)._repr_html_()
    assert ">HOLD<" in page
    assert "17.0-1" in page


def test_an_empty_queue_says_so():
    page = table([], nobatch=False)._repr_html_()
    assert "no jobs" in page
    assert "all users: 1,234 jobs" in page
    assert "<table" not in page
