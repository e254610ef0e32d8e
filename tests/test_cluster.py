"""Clusters and their futures, in a real kernel on a real pool."""

from __future__ import annotations

import json

import pytest
from conftest import Kernel

SHELL = "executable = /bin/sh\narguments = \"-c '{}'\"\n"


@pytest.fixture(scope="module")
def home_kernel(pool, tmp_path_factory):
    """One kernel for the tests of this file that need none of their own."""
    started = Kernel(tmp_path_factory.mktemp("notebook"))
    started.run("%load_ext htcmagic")
    yield started
    started.stop()


def sent(kernel, script, options="", tail=""):
    """Submit shell scripts as cluster `c`."""
    outcome = kernel.run(f"%%condor -o c {options}\n{SHELL.format(script)}{tail}")
    assert outcome.error is None, outcome.error
    return outcome


def told(kernel, code):
    """Run a cell that must not fail; the text it printed."""
    outcome = kernel.run(code, timeout=100)
    assert outcome.error is None, outcome.error
    return outcome.text


def raised(kernel, code):
    """Run a cell that must fail: the error's name, and the lines shown."""
    outcome = kernel.run(code, timeout=100)
    assert outcome.error is not None, outcome.text
    return outcome.error[0], outcome.error[2].splitlines()


def test_results_failures_and_signals(home_kernel):
    sent(home_kernel, "test $(Process) = 2 && kill -9 $$; exit $(Process)", "-n 3")
    told(home_kernel, "c.wait(60)")
    assert told(home_kernel, "r = c[0].result(); print(r.ok, r.code, r.signal, r.run_s >= 0, 'slot' in r.host)") == (
        "True 0 None True True\n"
    )
    name, lines = raised(home_kernel, "c[1].result()")
    assert name == "JobFailed"
    assert "ended with exit code 1." in lines[0]
    assert len(lines) == 2
    name, lines = raised(home_kernel, "c[2].result()")
    assert "ended by signal 9." in lines[0]
    assert told(home_kernel, "print([j.id.proc for j in c.failed()], c[-1] is c.jobs[2], len(c[0:2]), len(c))") == (
        "[1, 2] True 2 3\n"
    )
    assert raised(home_kernel, "c.results()")[0] == "JobFailed"
    name, lines = raised(home_kernel, "c[3]")
    assert name == "NoSuchJob"
    assert len(lines) == 1
    assert told(home_kernel, "try: c[7]\nexcept IndexError: print('an IndexError')") == "an IndexError\n"


def test_standard_libraries_take_the_futures(home_kernel):
    sent(home_kernel, "exit 0", "-n 4")
    code = """
import asyncio, concurrent.futures as cf
done, pending = cf.wait(c.jobs, timeout=60)
print(len(done), len(pending), sum(f.result().ok for f in cf.as_completed(c.jobs, timeout=60)))
async def all_of_them():
    return await asyncio.gather(*[asyncio.wrap_future(j) for j in c])
print(len(await all_of_them()), len(c.results(60)))
called = []
c[0].add_done_callback(called.append)
print(called == [c[0]], c[0].running(), c[0].done())
"""
    assert told(home_kernel, code) == "4 0 4\n4 4\nTrue False True\n"


def test_futures_made_before_the_end_are_told(home_kernel):
    code = """
import asyncio
order = []
for j in c: j.add_done_callback(lambda f: order.append(f.id.proc))
print(sorted([ (await asyncio.wrap_future(j)).code for j in c]))
c.wait(60); print(sorted(order))
"""
    sent(home_kernel, "sleep 1", "-n 2")
    assert told(home_kernel, code) == "[0, 0]\n[0, 1]\n"


def test_cancel_removes_the_job(home_kernel, real):
    sent(home_kernel, "sleep 60", "-n 2")
    code = """
import asyncio, concurrent.futures as cf
print(c[0].cancel())
try: c[0].result(30)
except cf.CancelledError: print('cancelled', c[0].cancelled(), c[0].cancel(), c[0].state.value)
wrapped = asyncio.wrap_future(c[1]); wrapped.cancel(); await asyncio.sleep(0.1)
cf.wait([c[1]], 30); print(c[1].cancelled(), c.id)
"""
    *lines, last = told(home_kernel, code).splitlines()
    assert lines == ["True", "cancelled True False removed"]
    done, cluster = last.split()
    assert done == "True"
    assert real("condor_q", cluster, "-af", "ProcId").stdout == ""


def test_hold_release_edit_and_removal_by_the_handle(home_kernel, real):
    sent(home_kernel, "exit 0", "-n 2 --hold")
    code = """
import time
def until(state, number):
    for _ in range(300):
        if c.status[state] == number: return
        time.sleep(0.1)
    print('waited in vain', c)
until('held', 2)
print(c[0].state.value, c[0].done(), c[0].hold.reason, c[0].hold.code)
print(c.edit(JobPrio=7, Mine='"a b"', Flag=True), c.release(), c.release())
c.wait(60); print(c.status['done'], c[0].hold, c.hold(), c.rm())
"""
    assert told(home_kernel, code).splitlines() == [
        "held False submitted on hold at user's request 15",
        "2 2 0",
        "2 None 0 0",
    ]
    sent(home_kernel, "sleep 60", "-n 2")
    code = """
print(c.hold('not <b>now</b>'))
until('held', 2)
print(c[1].hold.reason.partition(' (by')[0], '|', 'not &lt;b&gt;now' in c._views._data()['text/html'])
print(c.rm('enough')); c.wait(60); print(c.status['removed'])
"""
    assert told(home_kernel, code).splitlines() == ["2", "not <b>now</b> | True", "2", "2"]
    name, lines = raised(home_kernel, "c[0].result()")
    assert name == "JobRemoved"
    assert "enough" in lines[0]


def test_edit_reaches_the_schedd(home_kernel, real):
    sent(home_kernel, "exit 0", "--hold")
    told(home_kernel, "c.edit(JobPrio=7, Mine='\"a b\"', Flag=True)")
    cluster = told(home_kernel, "print(c.id)").strip()
    assert real("condor_q", cluster, "-af", "JobPrio", "Mine", "Flag").stdout == "7 a b true\n"
    name, lines = raised(home_kernel, "c.edit(JobPrio='1 +')")
    assert name == "PoolError"
    assert "is not a ClassAd expression" in lines[0]
    told(home_kernel, "c.rm()")


def test_waiting_has_an_end(home_kernel):
    sent(home_kernel, "sleep 60", "-n 2")
    name, lines = raised(home_kernel, "c.wait(0.3)")
    assert name == "TimedOut"
    assert "After 0.3 s" in lines[0]
    assert len(lines) == 2
    code = "try: c.wait(timeout=0.1)\nexcept TimeoutError as e: print(type(e).__name__, sum(c.status.values()), len(c))"
    assert told(home_kernel, code) == "TimedOut 2 2\n"
    assert raised(home_kernel, "c[0].result(0.1)")[0] == "TimedOut"
    told(home_kernel, "c.rm(); c.wait(60)")


@pytest.mark.parametrize(
    ("files", "tail"),
    [
        ("", "queue x in (a b)"),
        ("output = $(x).$(Process).out\nerror = e.$(Cluster).$(ProcId)\n", "queue x in (a b)"),
        ("initialdir = sub\noutput = $(x).out\nerror = $(x).err\n", "queue x in (a b)"),
        ("initialdir = sub/$(x)\noutput = o\nerror = e\n", "queue x from (\na\nb\n)"),
        ("base = made\noutput = $(base)_$(x).out\nerror = $INT(Process).err\n", "queue x in (a b)"),
    ],
)
def test_outputs_are_found_wherever_they_are(home_kernel, files, tail):
    told(home_kernel, "import os; [os.makedirs(f'sub/{x}', exist_ok=True) for x in 'ab']")
    sent(home_kernel, "echo out $(x); echo err $(x) >&2", tail=files + tail)
    code = "c.wait(60); print([c.stdout(i) for i in range(2)], [j.stderr() for j in c], [j.item for j in c])"
    assert told(home_kernel, code) == ("['out a\\n', 'out b\\n'] ['err a\\n', 'err b\\n'] [{'x': 'a'}, {'x': 'b'}]\n")


def test_two_clusters_may_share_a_log_and_a_name(home_kernel):
    for code in (0, 1):
        sent(home_kernel, f"exit {code}", "-n 3 --name twin", "log = shared.log\n")
        told(home_kernel, f"c{code} = c")
    states = told(home_kernel, "print(c0.wait(60).status['done'], c1.wait(60).status['failed'], c0.log == c1.log)")
    assert states == "3 3 True\n"
    listing = "import htcmagic; print(htcmagic.cluster('twin') is c1, htcmagic.clusters('twin') == [c1, c0])"
    assert told(home_kernel, listing) == "True True\n"
    shown = home_kernel.run("%condor_jobs twin").data[-1]
    assert shown["text/plain"].count("twin (") == 2


def test_a_second_kernel_sees_the_same(home_kernel, start_kernel):
    sent(home_kernel, "echo $(x); exit $(x)", "--name again", "queue x in (0 3)")
    told(home_kernel, "c.wait(60)")
    sent(home_kernel, "sleep 2; echo late", "--name later")
    second = start_kernel()
    look = "print(a.status, [j.stdout() for j in a], a[1].exception(), a[1].item)"
    here = told(home_kernel, f"import htcmagic; a = htcmagic.cluster('again'); {look}")
    assert told(second, f"import htcmagic; a = htcmagic.cluster('again'); {look}") == here
    assert "'done': 1" in here
    assert told(second, "print(htcmagic.cluster('later')[0].result(60).ok, htcmagic.cluster('later').stdout())") == (
        "True late\n\n"
    )
    assert "again (" in second.run("%condor_jobs").data[-1]["text/plain"]
    name, lines = raised(second, "htcmagic.cluster('no such')")
    assert name == "HTCMagicError"
    assert len(lines) == 2


def test_hostile_names_are_shown_as_text(home_kernel):
    outcome = sent(home_kernel, "exit 0", "--hold --name '<img src=x onerror=alert(1)>'")
    html = outcome.data[-1]["text/html"]
    assert "<img" not in html
    assert "&lt;img" in html
    told(home_kernel, "c.hold('<script>alert(1)</script>'); c.rm('<b>')")
    listing = home_kernel.run("%condor_jobs").data[-1]["text/html"]
    assert "<img" not in listing
    assert "<script>alert" not in listing


def test_the_view_is_live(home_kernel):
    outcome = sent(home_kernel, "sleep 1", "-n 2")
    assert "2 idle" in outcome.data[-1]["text/plain"]
    later = home_kernel.run("import time; c.wait(60); time.sleep(0.5)")
    mine = outcome.data[-1]["text/plain"].partition(":")[0]
    texts = [update["text/plain"] for update in later.updates if update["text/plain"].startswith(mine)]
    assert "2 done" in texts[-1]
    assert any("running" in text for text in texts)


def test_two_thousand_jobs_are_tracked(home_kernel, real):
    sent(home_kernel, "exit 0", "-n 2000 --hold")
    cluster = told(home_kernel, "print(c.id)").strip()
    real("condor_release", *[f"{cluster}.{proc}" for proc in range(6)])
    real("condor_rm", "-constraint", f"ClusterId == {cluster} && ProcId >= 1000")
    code = """
import json, time
for _ in range(600):
    if c.status['done'] == 6 and c.status['removed'] == 1000: break
    time.sleep(0.1)
print(json.dumps(c.status))
"""
    status = json.loads(told(home_kernel, code))
    assert status == {"idle": 0, "running": 0, "held": 994, "done": 6, "failed": 0, "removed": 1000}
    told(home_kernel, "c.rm(); c.wait(100)")
