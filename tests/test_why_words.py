"""Explanations from facts alone: what a small pool never says, hostile text, expressions taken apart."""

from __future__ import annotations

import json
import re
import time
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from htcmagic.jobs.model import JobId
from htcmagic.pool.address import Pool
from htcmagic.pool.door_why_expressions import attributes, conjuncts, disjuncts, names, rescoped, tokens
from htcmagic.queue.why import Why, codes, ended, held, idle, running
from htcmagic.queue.why.fixes import Hand, shell
from htcmagic.queue.why.model import Group

NOW = int(time.time())
PERSONAL = Hand(Pool(config="/x/condor_config", origin="personal pool", personal=True))
SITE = Hand(Pool("ap1.example.org", "cm.example.org", origin="%condor_pool"))
AD = {
    "ClusterId": 17,
    "ProcId": 0,
    "JobUniverse": 5,
    "User": "alice@example.org",
    "Owner": "alice",
    "QDate": NOW - 7200,
    "EnteredCurrentStatus": NOW - 600,
    "RequestMemory": 1024,
    "RequestCpus": 1,
}
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "\x1b[31mred\x1b[0m\x07\x00\r\n",
    "abc\u202ecba\u2066x\u200b\ufeff",
    "'; rm -rf ~; echo '$(reboot) `reboot` $HOME {x}",
    "\udce9t\udce9 \x9b31m",
    "a" * 100_000,
]


def group(status=1, *, count=1, match=None, **ad):
    jobs = tuple(JobId(17, proc) for proc in range(count))
    return Group(status, count, jobs, {17: count}, AD | ad, NOW, match)


def slots(ever=2, now=0, states=(("full", 2),)):
    return {
        "slots": 3,
        "free": 3,
        "ever": ever,
        "now": now,
        "room_ever": 4,
        "room_now": 0,
        "conditions": [],
        "together": None,
        "states": list(states),
    }


def world(**told):
    return {"negotiator": {"LastHeardFrom": NOW - 10, "LastNegotiationCyclePeriod0": 60}, "pool_error": ""} | told


# idle


@pytest.mark.parametrize(
    ("ad", "facts", "cause", "said"),
    [
        ({}, world(pool_error="it does not answer"), "no-collector", "the collector cannot be asked for slots"),
        ({"m": slots() | {"slots": 0}}, world(), "no-slots", "the pool has no slots"),
        ({"m": slots()}, world(negotiator={}), "no-negotiator", "the pool has no negotiator"),
        (
            {"m": slots()},
            world(negotiator={"LastHeardFrom": NOW - 4000}),
            "no-negotiator",
            "the negotiator was last heard of 1 h 06 min ago",
        ),
        (
            {"m": slots()},
            world(schedd={"TotalRunningJobs": 10000, "MaxJobsRunning": 10000}),
            "schedd-limit",
            "the schedd runs 10,000 jobs, as many as it may (MAX_JOBS_RUNNING).",
        ),
        ({"m": slots()}, world(), "busy", "it waits for room: all 2 slots that could run it are taken."),
        (
            {"m": slots(states=[("full", 1), ("drained", 1)])},
            world(),
            "busy",
            "none of the 2 slots that could run it takes jobs now (1 taken, 1 drained).",
        ),
        (
            {"m": slots(now=1), "QDate": NOW - 5},
            world(),
            "new",
            "submitted 5 s ago, and not looked at yet: wait for the",
        ),
        ({"m": slots(now=1)}, world(), "not-looked-at", "has not looked at it since it was submitted, 2 h 00 min ago."),
        (
            {"m": slots(now=1), "LastRejMatchReason": "insufficient priority", "LastRejMatchTime": NOW - 3},
            world(accounts={"alice@example.org": {"Priority": 900.0, "better": 3, "waiting": 5}}),
            "priority",
            "users with a better priority come first; 3 users of those who wait come first.",
        ),
        (
            {"m": slots(now=1), "LastRejMatchReason": "submitter limit exceeded", "LastRejMatchTime": NOW - 3},
            world(accounts={"alice@example.org": {"WeightedResourcesUsed": 40.0, "SubmitterLimit": 40.0}}),
            "share",
            "your share of the pool is used up: 40 cores of 40.",
        ),
        (
            {"m": slots(now=1), "AccountingGroup": "higgs.alice", "LastRejMatchTime": NOW - 3},
            world(accounts={"higgs.alice@example.org": {"group": {"EffectiveQuota": 10, "WeightedResourcesUsed": 10}}}),
            "quota",
            "its accounting group uses its quota: 10 of 10 cores.",
        ),
        (
            {"m": slots(now=1), "LastRejMatchReason": "no match found", "LastRejMatchTime": NOW - 3},
            world(),
            "next-cycle",
            "1 slot seems to have room for it, yet the negotiator found none 3 s ago",
        ),
        (
            {"m": slots(now=1), "LastMatchTime": NOW - 500, "NumShadowStarts": 9, "VacateReason": "Shadow exception!"},
            world(),
            "came-back",
            "it ran and came back (9 starts): Shadow exception!",
        ),
        ({"m": slots(), "JobCoolDownExpiration": NOW + 90}, world(), "cool-down", "rest for another 1 min 30 s."),
        ({"JobUniverse": 9, "GridResource": "arc ce1"}, world(), "grid", "it waits in another system: arc ce1 says"),
        ({"JobUniverse": 7}, world(), "schedd-limit", "it needs no slot (scheduler universe"),
        ({"LastRejMatchTime": NOW - 900}, world(), "unknown", "its slots were not looked at"),
    ],
)
def test_what_keeps_a_job_idle(ad, facts, cause, said):
    match = ad.pop("m", None)
    one = idle.explain(group(match=match, **ad), facts, PERSONAL)
    assert one.cause == cause
    assert said in one.headline
    assert one.headline.startswith("Job 17.0 is idle: ")
    assert one.urgent == (cause in {"no-collector", "no-slots", "no-negotiator", "came-back"})


# held


def test_every_code_has_words():
    known = set(range(1, 28)) | set(range(32, 49))
    assert set(codes.HOLDS) == known - {2}
    for code, words in codes.HOLDS.items():
        one = held.explain(group(5, HoldReasonCode=code, HoldReason="because"), SITE, local=False)
        assert one.headline.startswith("Job 17.0 is held: ")
        assert one.cause == f"hold-{code}"
        assert words.words.split("(")[0].strip() in one.headline or code == codes.OUT_OF_RESOURCES


@pytest.mark.parametrize(
    ("ad", "said", "submit"),
    [
        (
            {
                "HoldReasonCode": 34,
                "HoldReasonSubCode": 102,
                "MemoryProvisioned": 1024,
                "HoldReason": "Error from slot1@w: Job has gone over cgroup memory limit of 1024 megabytes. "
                "Last measured usage: 1021 megabytes. Consider resubmitting with a higher request_memory.",
            },
            "it used 1021 MB of memory, it had asked for 1 GB.",
            "request_memory = 1536MB",
        ),
        (
            {"HoldReasonCode": 34, "HoldReasonSubCode": 104, "RequestDisk": 2 << 20, "DiskUsage": 5 << 20},
            "it used 5 GB of disk, it had asked for 2 GB.",
            "request_disk = 8GB",
        ),
        (
            {"HoldReasonCode": 26, "HoldReason": "memory usage exceeded request_memory", "MemoryUsage": 3000},
            "the schedd's policy put it on hold: it used 2.93 GB of memory, it had asked for 1 GB.",
            "request_memory = 5GB",
        ),
        (
            {
                "HoldReasonCode": 21,
                "HoldReason": "The job exceeded disk usage limits",
                "DiskUsage": 3000,
                "RequestDisk": 2048,
            },
            "it used 2.93 MB of disk, it had asked for 2 MB.",
            "request_disk = 128MB",
        ),
    ],
)
def test_what_was_too_little_is_asked_for_anew(ad, said, submit):
    one = held.explain(group(5, **ad), SITE, local=False)
    assert one.headline.endswith(said)
    (fix,) = one.fixes
    assert fix.submit == submit
    assert re.fullmatch(
        r"!condor_qedit -name ap1\.example\.org -pool cm\.example\.org 17\.0 Request(Memory|Disk) \d+", fix.lines[0]
    )
    assert fix.lines[1] == "%condor_release 17.0"


def test_who_held_it():
    one = held.explain(group(5, HoldReasonCode=1, HoldReason="via condor_hold (by user bob)"), SITE, local=False)
    assert "Held 10 min 00 s ago by user bob." in one.details
    one = held.explain(group(5, HoldReasonCode=26, HoldReason="too long"), SITE, local=False)
    assert "Held 10 min 00 s ago by the schedd's policy." in one.details
    one = held.explain(group(5, HoldReasonCode=99, NumHolds=4), SITE, local=False)
    assert "code 99" in one.headline
    assert "It has been held 4 times." in one.details


def test_many_held_jobs_are_one_explanation():
    one = held.explain(group(5, count=120, HoldReasonCode=13, JobBatchName="scan"), PERSONAL, local=False)
    assert one.headline == "120 jobs of cluster 17 (scan) are held: their input could not be sent."
    assert one.fixes[0].lines == ("%condor_release 17",)


# running, ended


@pytest.mark.parametrize(
    ("ad", "cause", "said"),
    [
        ({"RemoteUserCpu": 20.0}, "hardly-computes", "CPU: 0.01 of 1 core: it hardly computes."),
        (
            {"RemoteUserCpu": 7000.0, "CpusUsage": 3.9},
            "too-many-threads",
            "3.90 of 1 core: more threads than it asked for.",
        ),
        (
            {"RemoteUserCpu": 3500.0, "MemoryUsage": 1000},
            "near-memory-limit",
            "Memory: 1000 MB of 1 GB: near its limit.",
        ),
        ({"RemoteUserCpu": 3500.0, "LastJobLeaseRenewal": NOW - 3000}, "silent", "last heard of 50 min 00 s ago"),
        ({"RemoteUserCpu": 3500.0, "TransferringOutput": True}, "transferring-output", "CPU: 0.97 of 1 core."),
        ({"RemoteUserCpu": 3500.0, "NumShadowStarts": 3}, "running", "It was started 3 times."),
    ],
)
def test_what_is_odd_about_a_running_job(ad, cause, said):
    one = running.explain(group(2, JobCurrentStartDate=NOW - 3600, RemoteHost="slot1@w", **ad), PERSONAL)
    assert one.cause == cause
    assert any(said in detail for detail in one.details), one.details
    assert "1 h 00 min on slot1@w." in one.headline


@pytest.mark.parametrize(
    ("ad", "cause", "said"),
    [
        ({"ExitCode": 137}, "exit-137", "exit code 137: a shell reports SIGKILL (9) so (killed from outside"),
        ({"ExitBySignal": True, "ExitSignal": 64}, "signal-64", "ended by SIGRTMAX (64)."),
        ({"ExitBySignal": True, "ExitSignal": 999}, "signal-999", "ended by signal 999."),
        ({}, "completed", "ended; its exit code is not known."),
    ],
)
def test_how_a_job_ended(ad, cause, said):
    one = ended.explain(group(4, **ad))
    assert one.cause == cause
    assert said in one.headline


# hostile text


class Reader(HTMLParser):
    """Collects tags and attributes, and checks that tags are closed in order."""

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.attributes = [], set(), set()
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def check(one):
    """Whatever strangers wrote stays text, in every form."""
    answer = Why([one], [one.headline])
    for page in (answer._repr_html_(), one._repr_html_()):
        reader = Reader(page)
        assert reader.tags <= {"div", "span", "b", "code", "table", "thead", "tbody", "tr", "th", "td"}
        assert reader.attributes <= {"style"}
        assert not re.search(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]", page)
    assert all(letter.isprintable() or letter == "\n" for letter in str(answer))
    assert len(str(answer)) < 60_000
    assert json.loads(json.dumps(answer.to_dict(), default=str))["explanations"][0]["state"] == one.state


HOSTILE_NAMES = (
    *(
        "User",
        "Owner",
        "JobBatchName",
        "HoldReason",
        "LastRejMatchReason",
        "VacateReason",
        "RemoveReason",
        "Cmd",
        "Iwd",
    ),
    *("RemoteHost", "LastRemoteHost", "GridResource", "GridJobStatus", "AccountingGroup", "HtcmagicRun"),
)


@pytest.mark.parametrize("text", HOSTILE)
def test_foreign_text_stays_text(text):
    ad = dict.fromkeys(HOSTILE_NAMES, text)
    ad["PeriodicHold"] = ad["RequireGPUs"] = {"expression": text, "value": None}
    ad["Requirements"] = {"expression": f'Colour == "{text}" && x', "value": None}
    condition = {
        "kind": "requirements",
        "text": f'Colour == "{text}"',
        "resource": "",
        "requested": None,
        "ever": 0,
        "now": 0,
        "without": 2,
        "missing": [text],
        "values": [(text, 2)],
    }
    start = condition | {"kind": "start", "text": f'TARGET.Flavour == "{text}"', "missing": [], "values": []}
    match = slots(ever=0) | {"conditions": [condition, start], "near": {text: [text]}}
    facts = world(pool_error=text)
    check(idle.explain(group(match=match, **ad), facts, SITE))
    check(idle.explain(group(**ad), facts, SITE))
    check(idle.explain(group(match=slots(states=[(text, 2)]), **ad), world(), SITE))
    for code in (*codes.HOLDS, 99):
        check(held.explain(group(5, HoldReasonCode=code, **ad), SITE, local=True))
    check(running.explain(group(2, JobCurrentStartDate=NOW - 5, **ad), SITE))
    check(ended.explain(group(3, **ad)))


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=20),
    st.builds(lambda text: {"expression": text, "value": None}, st.text(max_size=20)),
)
FUZZED = (
    *HOSTILE_NAMES,
    *("QDate", "EnteredCurrentStatus", "LastRejMatchTime", "LastMatchTime", "NumJobMatches", "NumShadowStarts"),
    *("HoldReasonCode", "HoldReasonSubCode", "MemoryUsage", "RequestMemory", "MemoryProvisioned", "DiskUsage"),
    *("RequestDisk", "DeferralTime", "JobCoolDownExpiration", "JobUniverse", "ExitCode", "ExitSignal", "ExitBySignal"),
    *("RemoteUserCpu", "RemoteWallClockTime", "JobCurrentStartDate", "CpusUsage", "CpusProvisioned", "NumHolds"),
    *("LastJobLeaseRenewal", "CompletionDate", "TotalSubmitProcs", "PeriodicHold"),
)


@settings(deadline=None, max_examples=150)
@given(st.dictionaries(st.sampled_from(FUZZED), VALUES, max_size=12))
def test_an_ad_of_any_shape_is_told(ad):
    check(idle.explain(group(match=slots(), **ad), world(), SITE))
    check(held.explain(group(5, **ad), SITE, local=False))
    check(running.explain(group(2, **ad), SITE))
    check(ended.explain(group(4, **ad)))


def test_lines_for_the_shell_do_not_run_what_strangers_wrote():
    assert shell("chmod", "+x", "/a b/$(reboot)") == "!chmod +x '/a b/$(reboot)'"
    assert shell("chmod", "+x", "/a/{x}") == "import subprocess; subprocess.run(['chmod', '+x', '/a/{x}'])"
    assert shell("chmod", "+x", "/a/$x").startswith("import subprocess; ")


# expressions


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a", ["a"]),
        ("(a && b)", ["a", "b"]),
        ("a && b || c", ["a && b || c"]),
        ("a && (b || c)", ["a", "b || c"]),
        ("a ? b && c : d", ["a ? b && c : d"]),
        ("(a ?: b) && c", ["a ?: b", "c"]),
        ('x == "a && b" && y', ['x == "a && b"', "y"]),
        (r'x == "a\" && b" && y', [r'x == "a\" && b"', "y"]),
        ("'a && b' && f(c && d) && {e && f} && g[h && i]", ["'a && b'", "f(c && d)", "{e && f}", "g[h && i]"]),
        ("((a)) && ((b && (c)))", ["a", "b", "c"]),
        ("(a) && (b) == (c)", ["a", "(b) == (c)"]),
        ("(" * 3000 + "x" + ")" * 3000, ["x"]),
        ("((", ["(("]),
        ("", [""]),
    ],
)
def test_conjunctions_are_taken_apart(text, parts):
    assert conjuncts(text) == parts


@given(st.text(alphabet="ab1 ()&|\"\\'.?:=!<>{}[]", max_size=60))
def test_taking_apart_loses_nothing(text):
    assert "".join(token.text for token in tokens(text)) == text
    assert all(part in text for part in conjuncts(text))
    assert all(part.strip() == part for part in disjuncts(text))
    names(text)


def test_names_and_scopes():
    assert attributes("TARGET.Memory >= my.RequestMemory && f(x) && \"y\" == 'odd name' && z.member is true") == {
        *("memory", "requestmemory", "x", "odd name", "z"),
    }
    assert rescoped("Memory > RequestMemory && MY.a && TARGET.b && CurrentTime > 3", {"requestmemory"}) == (
        "TARGET.Memory > RequestMemory && MY.a && TARGET.b && time() > 3"
    )
