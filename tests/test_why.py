"""Why jobs are idle, held, running or gone, on a real pool with slots of several kinds; and the lines that mend it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from html.parser import HTMLParser

import pytest
from conftest import Kernel, leftovers, use_home
from pools import daemon, eventually, tool

from htcmagic import places
from htcmagic.errors import NoSuchJob
from htcmagic.pool import personal, resolve
from htcmagic.pool.client import client
from htcmagic.queue.why import asked, explain

CONFIG = """
NUM_CPUS = 8
MEMORY = 16384
NUM_SLOTS =
NUM_SLOTS_TYPE_1 = 1
SLOT_TYPE_1 = cpus=4, memory=8192, disk=25%
SLOT_TYPE_1_PARTITIONABLE = True
NUM_SLOTS_TYPE_2 = 1
SLOT_TYPE_2 = cpus=2, memory=4096, disk=25%
SLOT_TYPE_2_PARTITIONABLE = True
SLOT_TYPE_2_START = (TARGET.JobFlavour =?= "long") && (HasWings =!= false)
NUM_SLOTS_TYPE_3 = 1
SLOT_TYPE_3 = cpus=2, memory=2048, disk=25%
SLOT_TYPE_3_PARTITIONABLE = False
STARTD_ATTRS = $(STARTD_ATTRS) HasWings Colour
HasWings = true
Colour = "blue"
NEVER_LIMIT = 0
PID_SNAPSHOT_INTERVAL = 1
STARTER_INITIAL_UPDATE_INTERVAL = 1
STARTER_UPDATE_INTERVAL = 1
PERIODIC_EXPR_INTERVAL = 1
MAX_PID_SNAPSHOT_INTERVAL = 1
STARTER_INITIAL_UPDATE_INTERVAL = 1
STARTER_UPDATE_INTERVAL = 1
PERIODIC_EXPR_INTERVAL = 1
ALLOW_ADVERTISE_STARTD = *
"""
SLOTS = 3
SLEEP = "executable = /bin/sleep\narguments = 300\nrequest_memory = 64MB\nrequest_disk = 1MB\n"


@pytest.fixture(scope="module")
def own(session_home, tmp_path_factory):
    """Stand in a pool with three slots: one for everybody, one for long jobs, one that is not cut to size."""
    before, chosen = os.environ["HTCMAGIC_HOME"], resolve._chosen
    use_home(tmp_path_factory.mktemp("why"))
    try:
        folder = places.private(places.private(places.pool_dir()) / "config.d")
        (folder / "why.conf").write_text(CONFIG)
        address = resolve.personal_pool()
        resolve.choose(address)
        whom = client(address)
        eventually(lambda: whom.slots()["slots"] == SLOTS)
        yield whom
        whom.close()
    finally:
        resolve.choose(chosen)
        personal.down(purge=True)
        left = leftovers(places.pool_dir())
        os.environ["HTCMAGIC_HOME"] = before
        assert left == []


@pytest.fixture(scope="module")
def kernel(own, tmp_path_factory):
    started = Kernel(tmp_path_factory.mktemp("notebook"))
    try:
        assert started.run("%load_ext htcmagic").error is None
        yield started
    finally:
        started.stop()


@pytest.fixture
def submit(own, tmp_path):
    """Submit a description; return the id of its first job. The queue is emptied afterwards."""

    def send(text, base=SLEEP, queue="queue"):
        file = tmp_path / f"{time.monotonic_ns()}.sub"
        file.write_text(f"initialdir = {tmp_path}\n{base}{text}\n{queue}\n")
        return tool("condor_submit", "-terse", str(file)).stdout.split()[0]

    yield send
    tool("condor_rm", "-all", check=False)
    eventually(lambda: "Total for all users: 0 jobs" in tool("condor_q", "-totals").stdout)


def why(own, *jobs):
    return explain(own, [asked(job) for job in jobs])


def soon(own, job, cause, within_s=30.0):
    """Return the explanation of a job as soon as it has this cause."""

    def look():
        (one,) = why(own, job).explanations
        return one if re.fullmatch(cause, one.cause) else None

    return eventually(look, within_s)


def runs(own, job, within_s=30.0):
    return soon(own, job, "running|.*memory-limit|exit-0", within_s)


def fixed(kernel, fix):
    """Type what a fix says."""
    for line in fix.lines:
        outcome = kernel.run(line)
        assert outcome.error is None, (line, outcome.error)
        assert "rror" not in outcome.text, (line, outcome.text)


# idle


def test_too_much_memory_names_the_nearest_that_matches(own, submit, kernel):
    job = submit("request_memory = 190GB")
    one = soon(own, job, "no-match")
    assert one.headline == f"Job {job} is idle: it asks for 190 GB of memory, and no slot has more than 8 GB."
    assert one.urgent
    assert one.slots == SLOTS
    (memory,) = [c for c in one.conditions if c.text == "request_memory = 190 GB"]
    assert (memory.ever, memory.now, memory.without) == (0, 0, 2)
    assert [fix.says for fix in one.fixes] == ["at 8 GB 1 slot matches", "at 2 GB 2 slots match"]
    assert [fix.submit for fix in one.fixes] == ["request_memory = 8GB", "request_memory = 2GB"]
    fixed(kernel, one.fixes[0])
    runs(own, job)


@pytest.mark.parametrize(
    ("text", "reason", "submit_line"),
    [
        ("request_cpus = 64", "it asks for 64 cores, and no slot has more than 4 cores.", "request_cpus = 4"),
        ("request_gpus = 1", "it asks for 1 GPU, and no slot of this pool has any.", ""),
        ("request_disk = 900TB", "it asks for 900 TB of disk, and no slot has more than", "request_disk = "),
        (
            'requirements = Colour == "red"',
            'it requires Colour == "red", and no slot is so: they have blue (2 slots).',
            'requirements = Colour == "blue"',
        ),
        (
            "requirements = HasWigs",
            "it requires HasWigs, but no slot has an attribute HasWigs: HasWings?",
            "requirements = HasWings",
        ),
        (
            'requirements = Arch == "Z80"',
            'it requires Arch == "Z80", and no slot is so: they have X86_64 (2 slots).',
            'requirements = Arch == "X86_64"',
        ),
        ("requirements = false", "it requires false, and no slot is so.", ""),
    ],
)
def test_what_no_slot_has(own, submit, text, reason, submit_line):
    one = soon(own, submit(text), "no-match")
    assert reason in one.headline
    assert one.urgent
    lines = [fix.submit for fix in one.fixes]
    assert lines[0].startswith(submit_line)
    assert bool(lines[0]) == bool(submit_line)


def test_a_misspelt_attribute_is_put_right_by_the_line_offered(own, submit, kernel):
    job = submit('requirements = HasWigs && Colour =!= "$x {y}"')
    one = soon(own, job, "no-match")
    assert one.fixes[0].submit == 'requirements = HasWings && Colour isnt "$x {y}"'
    fixed(kernel, one.fixes[0])
    assert "$x {y}" in tool("condor_q", job, "-af:r", "Requirements").stdout
    runs(own, job)


def test_two_things_in_the_way_are_both_told(own, submit, kernel):
    job = submit('requirements = HasWigs && (Colour == "red")')
    one = soon(own, job, "no-match")
    assert any("More than one thing is in the way" in detail for detail in one.details)
    assert one.fixes[0].says == 'probably meant: HasWings and Colour == "blue"'
    fixed(kernel, one.fixes[0])
    runs(own, job)


def test_the_machine_s_side(own, submit, kernel):
    job = submit("requirements = TotalSlotMemory == 4096")
    one = soon(own, job, "no-match")
    wants = 'TARGET.JobFlavour is "long"'
    assert f"Any one of these is enough: TotalSlotMemory == 4096 and {wants}." in one.details
    assert any(c.text == wants and (c.kind, c.ever, c.without) == ("start", 2, 1) for c in one.conditions)
    (fix,) = [fix for fix in one.fixes if fix.submit == 'My.JobFlavour = "long"']
    fixed(kernel, fix)
    runs(own, job)


def test_jobs_that_wait_for_room(own, submit):
    submit("request_cpus = 4\nrequest_memory = 4GB")
    eventually(lambda: "R" in tool("condor_q", "-nobatch").stdout)
    job = submit("request_cpus = 3", queue="queue 2")
    one = soon(own, job.partition(".")[0], "busy")
    assert one.headline.endswith("are idle: each waits for room: the only slot that could run it is taken.")
    assert one.count == 2
    assert not one.urgent
    (cores,) = [c for c in one.conditions if c.text == "request_cpus = 3 cores"]
    assert (cores.ever, cores.now) == (1, 0)
    assert "1 slot of 3 could run it. The whole pool holds 1 such job at a time, and has room for 0 now." in one.details
    assert any(detail.startswith("Your priority is ") for detail in one.details)


def test_limits_and_times(own, submit):
    limited = soon(own, submit("concurrency_limits = never"), "limit")
    assert "idle: the concurrency limit never is reached" in limited.headline
    later = soon(own, submit("deferral_time = 1999999999"), "deferred")
    assert "its start time (deferral_time) is 2033-05-18" in later.headline
    assert not later.urgent


def test_jobs_that_are_not_made_yet(own, submit):
    cluster = submit("request_memory = 1TB\nmax_idle = 2", queue="queue 20").partition(".")[0]
    answer = why(own, cluster)
    assert [(one.count, one.cause) for one in answer] == [(2, "no-match")]
    (note,) = answer.notes
    assert note.startswith(f"Cluster {cluster}: 18 more jobs of 20 not made yet: ")
    assert note.endswith("at most 2 idle at a time (max_idle).")


@pytest.mark.parametrize(
    "requirements",
    [
        "Memory > 3000",
        "TARGET.Memory > 3000 && Cpus >= 4",
        'Colour == "blue" || HasWigs',
        "HasWings =?= true",
        "HasWigs =?= undefined",
        "isUndefined(HasWigs) ? SlotID > 1 : false",
        'regexp("^slot[13]", Name)',
        'Cpus * Memory > 4096 && !(Arch == "INTEL")',
        "DetectedCpus > 0 && PartitionableSlot",
        'stringListMember("blue", Colour) && (SlotType =!= "Static")',
    ],
)
def test_counts_agree_with_condor_q_better_analyze(own, submit, requirements):
    eventually(lambda: not tool("condor_status", "-constraint", 'State == "Claimed"', "-af", "Name").stdout)
    job = submit(f'My.JobFlavour = "long"\nrequirements = {requirements}\nhold = true')
    said = tool("condor_q", "-better-analyze", job).stdout
    now = int(re.search(r"(\d+) slots match and are willing to run your job", said)[1])
    drained = re.search(r"(\d+) slots would match if drained", said)
    ((_, match),) = own.call("pool_for", jobs=[tuple(map(int, job.split(".")))])["matches"].items()
    assert (match["slots"], match["now"]) == (SLOTS, now)
    assert match["ever"] == now + int(drained[1] if drained else 0)


# held


def test_a_job_held_by_its_user(own, submit, kernel):
    job = submit("request_memory = 1TB")
    tool("condor_hold", job, "-reason", "wrong <b>input</b>")
    one = soon(own, job, "hold-1")
    assert one.headline == f"Job {job} is held: a user asked for it."
    assert any("wrong <b>input</b>" in detail for detail in one.details)
    assert any(re.fullmatch(r"Held \d s ago by user \w+\.", detail) for detail in one.details)
    assert "<b>input" not in one._repr_html_()
    assert one.fixes[0].lines == (f"%condor_release {job}",)
    fixed(kernel, one.fixes[0])
    soon(own, job, "no-match|new")


def test_programs_that_do_not_start_are_looked_at(own, submit, kernel, tmp_path):
    """Both at once: HTCondor takes 10 s until it holds a job for that."""
    mute, lost = tmp_path / "it's {a} $x.sh", tmp_path / "fit.sh"
    mute.write_text("#!/bin/sh\nexit 0\n")
    lost.write_text("#!/usr/bin/no-such-python\n")
    mute.chmod(0o644)
    lost.chmod(0o755)
    base = "request_memory = 64MB\nshould_transfer_files = NO\nrequirements = SlotID == 1\n"
    jobs = [submit(f"executable = {program}", base=base) for program in (mute, lost)]
    one, other = (soon(own, job, "hold-6") for job in jobs)
    assert one.headline == f"Job {jobs[0]} is held: its program could not be started (Permission denied)."
    assert f"{mute} is not executable." in one.details
    assert f"{lost} wants /usr/bin/no-such-python, which is not there: see its first line." in other.details
    fixed(kernel, one.fixes[0])
    soon(own, jobs[0], "exit-0")


def test_a_job_that_used_too_much_memory_gets_more(own, submit, kernel, tmp_path):
    base = f"executable = {sys.executable}\nshould_transfer_files = NO\nrequest_memory = 64MB\n"
    program = "import time; x = bytearray(150 << 20); time.sleep(2.5)"
    job = submit(f"arguments = \"-c '{program}'\"\non_exit_hold = MemoryUsage > RequestMemory * 2", base=base)
    one = soon(own, job, "hold-3")
    assert re.search(r"it used 1[5-9]\d MB of memory, it had asked for 64 MB\.$", one.headline)
    (fix,) = one.fixes
    asked_mb = int(re.fullmatch(r"request_memory = (\d+)MB", fix.submit)[1])
    assert 225 <= asked_mb <= 384
    fixed(kernel, fix)
    soon(own, job, "exit-0")


# running, ended, unknown


def test_a_running_job(own, submit):
    job = submit("")
    one = runs(own, job)
    assert re.fullmatch(rf"Job {job} is running for \d+ s on slot[\w@.]+\.", one.headline)
    assert not one.urgent
    tool("condor_suspend", job)
    one = soon(own, job, "suspended")
    assert one.fixes[0].lines[0].endswith(f"condor_vacate_job {job}")


@pytest.mark.parametrize(
    ("program", "cause", "said"),
    [
        ("exit 0", "exit-0", "ended well, with exit code 0."),
        ("exit 3", "exit-3", "ended with exit code 3."),
        ("no_such_program", "exit-127", "the shell did not find a program: is it on the machine, is PATH set?"),
        ("kill -11 $$", "signal-11", "ended by SIGSEGV (11): the program used memory that is not its own."),
    ],
)
def test_how_a_job_ended(own, submit, program, cause, said):
    base = "executable = /bin/sh\nrequest_memory = 64MB\nshould_transfer_files = NO\n"
    one = soon(own, submit(f"arguments = \"-c '{program}'\"", base=base), cause)
    assert one.headline.endswith(said)
    assert one.state == "completed"
    assert any("it ran for" in detail for detail in one.details)


def test_by_whom_a_job_was_removed(own, submit):
    job = submit("request_memory = 1TB")
    tool("condor_rm", job)
    one = soon(own, job, "removed")
    assert re.search(r"was removed by user \w+: via condor_rm", one.headline)
    assert any("it never ran" in detail for detail in one.details)


def test_an_unknown_id_has_neighbours(own, submit):
    job = submit("hold = true", queue="queue 3")
    cluster = job.partition(".")[0]
    with pytest.raises(NoSuchJob) as caught:
        why(own, f"{cluster}.7")
    assert caught.value.message.startswith(f"There is no job {cluster}.7 with the personal pool's schedd")
    assert caught.value.hint == f"Near it in the queue: {cluster}.0, {cluster}.1 and {cluster}.2"
    answer = why(own, f"{cluster}.7", f"{cluster}.1")
    assert [one.cause for one in answer] == ["hold-15"]
    assert answer.notes == (f"There is no job {cluster}.7 in the queue or the history.",)


# the magic


def test_the_magic_and_what_it_takes(own, submit, kernel):
    outcome = kernel.run("%%condor -o scan --name 'my scan' --hold\nexecutable = /bin/true\nqueue 3")
    assert outcome.error is None, outcome.error
    cluster = kernel.run("print(scan.id)").text.strip()
    for words in ("scan", cluster, "'my scan'", "scan[1] scan[-1]", "", "-constraint 'JobStatus == 5'", "-allusers"):
        outcome = kernel.run(f"%condor_why {words}")
        assert outcome.error is None, (words, outcome.error)
        count = 2 if words.startswith("scan[") else 3
        head = outcome.result.splitlines()[0]
        assert head == f"{count} jobs of cluster {cluster} (my scan) are held: it was submitted on hold.".replace(
            "it was", "each was"
        )
        assert "<b>" in outcome.data[-1]["text/html"]
    outcome = kernel.run("import htcmagic, json; print(json.dumps(htcmagic.why(scan).to_dict(), default=str))")
    told = json.loads(outcome.text)
    assert told["explanations"][0]["cause"] == "hold-15"
    assert told["explanations"][0]["jobs"] == [f"{cluster}.{proc}" for proc in range(3)]
    fixed(kernel, explain(own, [asked(cluster)])[0].fixes[0])
    eventually(lambda: "exit-0" in kernel.run("print(htcmagic.why(scan)[0].cause)").text)
    assert kernel.run("%condor_why").result == "You have no jobs in the queue."


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("%condor_why 999999.1", "NoSuchJob: There is no job 999999.1"),
        ("%condor_why nobody-knows", "There is no job or batch named nobody-knows"),
        ("%condor_why --alluser", ""),
        ("%condor_why -constraint '((('", "'(((' is not a ClassAd expression."),
        ("%condor_why 17 --allusers", "not both"),
        ("%condor_why --frobnicate", "has no option --frobnicate"),
    ],
)
def test_slips_cost_two_lines(kernel, line, said):
    outcome = kernel.run(line)
    shown = (outcome.text + (outcome.error[2] if outcome.error else "")).strip()
    assert said in shown
    assert len(shown.splitlines()) <= 2


# ten thousand slots; at the end of the file: they stay in the collector

ADVERTISE = """
import random, sys, classad2, htcondor2
random.seed(1)
collector = htcondor2.Collector()
pattern = str(collector.query(htcondor2.AdType.Startd, constraint="PartitionableSlot && SlotID == 1")[0])
ads = []
for number in range(int(sys.argv[1])):
    ad = classad2.ClassAd(pattern)
    cores = random.choice([8, 16, 32, 64, 128])
    used = random.randint(0, cores)
    ad["Machine"] = f"n{number:05d}.example.org"
    ad["Name"] = "slot1@" + ad["Machine"]
    ad["MyAddress"] = ad["StartdIpAddr"] = f"<10.0.{number // 250}.{number % 250}:9618>"
    ad["TotalSlotCpus"], ad["Cpus"] = cores, cores - used
    ad["TotalSlotMemory"] = memory = cores * 2048 - random.randint(0, 500)
    ad["Memory"] = memory - used * random.randint(500, 2000)
    ad["TotalSlotDisk"] = float(random.randint(10**8, 10**9))
    ad["Disk"] = int(ad["TotalSlotDisk"]) - used * random.randint(10**4, 10**6)
    ad["Colour"] = random.choice(["blue", "green", "yellow"])
    ad["Healthy"] = number % 50 > 0
    ad["Start"] = classad2.ExprTree('(Healthy =?= true) && (TARGET.JobFlavour =?= "long" || MY.Colour != "green")')
    ads.append(ad)
gpus = classad2.ClassAd(pattern)
gpus["Machine"] = "gpus.example.org"
gpus["Name"] = "slot1@gpus.example.org"
gpus["TotalSlotGPUs"], gpus["GPUs"] = 2, 1
gpus["AssignedGPUs"] = "GPU-a,GPU-b"
gpus["AvailableGPUs"] = classad2.ExprTree("{ GPUs_GPU_b }")
gpus["GPUs_GPU_a"] = classad2.ClassAd("[ Capability = 8.0 ]")
gpus["GPUs_GPU_b"] = classad2.ClassAd("[ Capability = 7.0 ]")
ads.append(gpus)
collector.advertise(ads, "UPDATE_STARTD_AD")
"""


def test_gpus_of_a_kind(own, submit):
    """One of a machine's two GPUs is in use: the better one."""
    subprocess.run([sys.executable, "-c", ADVERTISE, "0"], env=personal.environment(), check=True, timeout=60)
    wanted = "My.Fake = true\nrequest_gpus = 1\ngpus_minimum_capability = {}\nhold = true"
    found = []
    for capability in ("8.0", "7.0", "9.0"):
        job = submit(wanted.format(capability))
        ((_, match),) = own.call("pool_for", jobs=[tuple(map(int, job.split(".")))])["matches"].items()
        found.append((match["ever"], match["now"]))
    assert found == [(1, 0), (1, 1), (0, 0)]


@pytest.mark.slow
def test_a_frozen_collector_hides_nothing_of_what_the_schedd_tells(own, submit):
    submit("hold = true")
    submit("request_memory = 1TB")
    collector = daemon(places.pool_dir(), "collector")
    os.kill(collector, signal.SIGSTOP)
    try:
        found = explain(own)
    finally:
        os.kill(collector, signal.SIGCONT)
    assert {one.cause for one in found} == {"hold-15", "no-collector"}


def test_ten_thousand_slots(own, submit):
    number = 10_000
    command = [sys.executable, "-c", ADVERTISE, str(number)]
    subprocess.run(command, env=personal.environment(), check=True, timeout=60)
    job = submit('request_memory = 900GB\nrequirements = Colour == "blue"')
    started = time.perf_counter()
    (one,) = why(own, job)
    took_s = time.perf_counter() - started
    assert one.slots == number + SLOTS + 1
    assert one.cause == "no-match"
    memory = next(c for c in one.conditions if c.text.startswith("request_memory"))
    assert memory.ever == 0
    assert 2500 < memory.without < 4000
    most, common = [int(re.search(r"([\d,]+) slot", fix.says)[1].replace(",", "")) for fix in one.fixes]
    assert 0 < most < common <= memory.without
    assert took_s < 15  # 1 s on an idle machine; a bound that shows a hang


class Reader(HTMLParser):
    """Collects tags and checks that they are closed in order."""

    def __init__(self, page):
        super().__init__()
        self.open, self.tags = [], set()
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        assert {name for name, _ in attrs} <= {"style"}
        self.open.append(tag)
        self.tags.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_of_a_whole_queue_is_sound(own, submit):
    for text in ("request_memory = 1TB", "hold = true", 'requirements = Colour == "<i>red</i>"', "request_cpus = 64"):
        submit(text)
    answer = explain(own)
    page = answer._repr_html_()
    assert Reader(page).tags <= {"div", "b", "code", "span", "table", "thead", "tbody", "tr", "th", "td"}
    assert "<i>" not in page
    assert len(answer) == 4
    assert [one.urgent for one in answer] == sorted((one.urgent for one in answer), reverse=True)
