"""A live table drawn: as HTML, as lines of a terminal, and as what a browser is told."""

from __future__ import annotations

import random
import re
from collections import Counter

import pytest
from test_queue_html import HOSTILE, Reader

from htcmagic.pool.address import Pool
from htcmagic.queue.live import html, screen
from htcmagic.queue.live.deltas import FEW, Deltas, changes, packed
from htcmagic.queue.live.model import LETTERS, STATE_OF_LETTER, LiveBatch, LiveJob, LiveTable

NOW = 1_795_219_000.0
SLEEP = "executable = /bin/sleep\narguments = 600\nrequest_memory = 64MB\n"
HELD = f"{SLEEP}hold = true\n"


def batch(letters="IRHD", *, cluster=17, name="scan", owner="alice", hold="", **more):
    """Return a batch whose jobs are told by letters."""

    def jobs(limit, offset, states):
        all_of_them = [
            LiveJob(f"{cluster}.{n}", STATE_OF_LETTER[letter], NOW - 90, NOW - n, f"slot{n}@vm", hold, "sleep", owner)
            for n, letter in enumerate(letters)
        ]
        some = [job for job in all_of_them if states is None or job.state in states]
        return some[offset:] if limit is None else some[offset : offset + limit]

    counts = dict(Counter(STATE_OF_LETTER[letter] for letter in letters))
    spans = ((cluster, 0, len(letters)),)
    facts = {"own": True, "total": len(letters), "counts": counts, "hold": hold, "progress": None} | more
    return LiveBatch(
        **facts,
        key=str(cluster),
        name=name,
        owner=owner,
        submitted=NOW - 100,
        ids=f"{cluster}.0-{len(letters) - 1}",
        letters=letters,
        spans=spans,
        constraint=f"ClusterId == {cluster}",
        pool=Pool(),
        make_jobs=jobs,
    )


def table(*batches, **more):
    facts = {"seen": NOW, "stale": False, "note": "", "where": "vm", "version": 1, "finished": False} | more
    return LiveTable(batches=batches, **facts)


@pytest.mark.parametrize("text", HOSTILE)
def test_foreign_text_stays_text_in_html(text):
    looked = table(batch(name=text, owner=text, hold=text), batch(cluster=18), where=text, note=text)
    for ended in ("", text):
        page = html.render(looked, ended=ended, jobs=True, now=NOW)
        read = Reader(page)
        assert read.tags <= {"div", "b", "span", "table", "thead", "tbody", "tr", "th", "td", "details", "summary"}
        assert read.attributes <= {"class", "style", "title", "colspan"}
        assert not re.search("[\x00-\x1f\x7f-\x9f\u202e\u200b\udce9]", page)
    assert Reader(html.render(table(batch(hold=text), nobatch=True))).tags


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("width", [10, 40, 80, 200])
def test_a_screen_is_never_too_wide_nor_steered(text, width):
    looked = table(batch(name=text, hold=text), batch(cluster=18, name="é漢字" * 30), note=text, where=text)
    for some in (looked, table(*looked.batches, nobatch=True), table()):
        for drawn in screen.lines(some, width, now=NOW):
            assert screen._wide(drawn) <= max(width, screen.NARROWEST)
            assert drawn.replace("\udce9", "").isprintable()


@pytest.mark.parametrize("nobatch", [False, True])
@pytest.mark.parametrize("height", [5, 12, 24])
def test_a_screen_leaves_a_line_for_its_foot(height, nobatch):
    many = table(*(batch("IRHD" * 9, cluster=n, hold="because") for n in range(40)), nobatch=nobatch)
    drawn = screen.lines(many, 80, height, now=NOW)
    assert len(drawn) < height
    assert drawn[-1].startswith("… and ")


@pytest.mark.parametrize(("width", "counted"), [(40, "IDLE"), (48, "HELD"), (60, "TOTAL")])
def test_a_narrow_screen_leaves_out_what_is_least_missed(width, counted):
    looked = table(batch(name="n" * 60, hold="because"), batch(cluster=18, owner="bob"))
    assert counted in screen.lines(looked, width, now=NOW)[1]
    jobs = screen.lines(table(batch("H", hold="because"), nobatch=True), width, now=NOW)
    assert jobs[1].endswith("WHY OR WHAT")
    assert jobs[2].endswith("because")


def test_a_table_of_text_tells_what_there_is():
    looked = table(batch("D" * 6 + "RI", progress=0.61), batch("HH", cluster=18, name="", hold="no input\nfile"))
    drawn = "\n".join(screen.lines(looked, 100, now=NOW))
    assert "6 done, 1 running, 2 held, 1 idle" in drawn
    assert "61 %" in drawn
    assert "ID 18" in drawn
    assert "held: no input file" in drawn
    assert "all ended" in screen.lines(looked, 100, ended="all ended", now=NOW)[0]
    assert "5 min 00 s old" in screen.lines(table(batch(), stale=True), 100, now=NOW + 300)[0]


def test_the_html_of_an_ended_view_holds_the_jobs_that_matter():
    page = html.render(table(batch("D" * 500 + "FH", hold="why")), ended="all ended", jobs=True, now=NOW)
    words = " ".join(Reader(page).words)
    assert "17.501" in words
    assert "17.500" in words
    assert "17.99" not in words
    assert "… and 402 more jobs" in words
    assert "all ended, as of" in words


class Browser:
    """Takes messages in as the view's program does."""

    def __init__(self):
        self.order, self.rows, self.letters, self.infos = [], {}, {}, {}

    def take(self, said):
        self.order = said.get("order", self.order)
        for row in said["rows"]:
            self.rows[row["key"]] = row
        for change in said["jobs"]:
            key = change["key"]
            if "spans" in change:
                self.letters[key] = [letter for number, letter in change["letters"] for _ in range(number)]
                self.infos[key] = {}
            for at, letters in change.get("set", ()):
                self.letters[key][at : at + len(letters)] = letters
            for at, number, *info in change.get("infos", ()):
                self.infos[key].update({at + n: tuple(info) for n in range(number)})


@pytest.mark.parametrize("jobs", [40, FEW + 700])
def test_what_a_browser_knows_is_what_there_is(jobs):
    """After any changes; though only what is new is told."""
    chance = random.Random(jobs)  # noqa: S311 - a story, not a secret
    told, browser = Deltas(), Browser()
    letters = {17: "I" * jobs, 18: "H" * 3, 19: "I"}
    for turn in range(60):
        for cluster, text in letters.items():
            now = list(text)
            for _ in range(chance.randrange(9)):
                now[chance.randrange(len(now))] = chance.choice("IRHDFXS")
            letters[cluster] = "".join(now)
        if turn == 30:
            letters[20] = letters.pop(19) + "RR"
        looked = table(*(batch(text, cluster=cluster) for cluster, text in letters.items()))
        if turn == 45:
            told.forget()
            browser = Browser()
        said = told.message(looked)
        browser.take(said)
        while told.late:
            said = told.message(looked)
            browser.take(said)
        assert browser.order == [str(cluster) for cluster in letters]
        for one in looked.batches:
            assert "".join(browser.letters[one.key]) == one.letters
            assert browser.rows[one.key]["counts"] == one.counts
            for n, job in enumerate(one.jobs()):
                if job.state in ("held", "running", "failed"):
                    assert browser.infos[one.key][n][1:3] == (job.started, job.host)
        again = told.message(looked)
        assert (again["rows"], again["jobs"]) == ([], [])


def test_twenty_thousand_jobs_are_told_in_few_words():
    letters = "D" * 9_000 + "H" * 11_000
    assert packed(letters) == [[9_000, "D"], [11_000, "H"]]
    assert list(changes(letters, letters[:9_000] + "I" + letters[9_001:])) == [(9_000, "I")]
    assert list(changes("", "IIR")) == [(0, "IIR")]


def test_a_browser_part_is_shipped_and_asks_nobody():
    from htcmagic.queue.live import widget

    program = widget.script()
    assert "export default" in program
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|\bimport\b|innerHTML|insertAdjacentHTML|eval\(", program)
    assert set(re.findall(r"\b([A-Z]):", re.search(r"STATE = {(.*?)}", program)[1])) == set(LETTERS.values())
