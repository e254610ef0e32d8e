"""Every form of a submit description gives the same jobs as HTCondor's own condor_submit, in a real kernel."""

from __future__ import annotations

import json

import pytest
from conftest import Kernel

HEAD = (
    "executable = /bin/echo\narguments = $(x) $(y:none) $(Process) $(Step)\nenvironment = \"X='$(x)' Y='$(y:none)'\"\n"
)
SHOWN = "ProcId", "Args", "Env", "RequestMemory", "Foo", "JobBatchName", "JobPrio"

FORMS = {
    "no queue at all": "x = 1",
    "queue": "x = 1\nqueue",
    "a number": "x = 1\nqueue 3",
    "a macro for a number": "x = 1\nn = 2\nqueue $(n)",
    "upper case": "x = 1\n  QUEUE   2  ",
    "in": "queue x in (a b, c)",
    "in, with parentheses": "queue x in (a f(x) b)",
    "in, many lines": "queue x in (\n  a\n  b c\n)",
    "in, from the first line on": "queue x in (a\nb c\n)",
    "in, continued": "queue x in (a, \\\n  b)",
    "in, no variable": "x = $(Item)\nqueue in (a b)",
    "number and in": "queue 2 x in (a b)",
    "slice of in": "queue x in [::2] (a b c)",
    "one number as a slice": "queue x in [-1] (a b c)",
    "from a file": "queue x,y from items.txt",
    "slice of a file": "queue x,y from [1:] items.txt",
    "number and slice": "queue 2 x,y from [:2] items.txt",
    "a file with empty lines": "queue x,y from gaps.txt",
    "from inline": "queue x,y from (\n  a, 1\n  # not one\n\n  b c 2\n  c\n)",
    "from inline, with parentheses": "queue x from (\na, f(x)\nb)\n)",
    "matching": "queue x matching *.dat",
    "matching files, slice": "queue x matching files [1:] (*.dat, d*)",
    "matching dirs": "queue x matching dirs d*",
    "from a script": "queue x,y from ./items.sh 3 |",
    "if": "if false\n x = 1\nelif version >= 23.0.0\n x = 2\nelse\n x = 3\nendif\nqueue",
    "if defined": "if defined x\n y = 1\nelse\n x = undefined\nendif\nqueue",
    "include": "include : more.inc\nqueue",
    "include of a script": "include : ./inc.sh |\nqueue 2",
    "here-document": "x = 1\nMY.Foo @=end\n[ a = 1;\n  queue = 2 ]\n@end\nqueue",
    "comments": "# queue 5\nx = 1 # 2\n  # queue\n\nqueue 2\n\n# the end\n",
    "continuation": "x = a \\\n  queue \\\n  b\nqueue",
    "attributes": 'x = 1\n+Foo = "a b"\nMY.JobPrio = 7\nrequest_memory = 2GB\nbatch_name = my "own"\nqueue',
    "functions": "x = $Fnx(/a/b.c) $INT(y,%03d) $(z:7) $ENV(HOME) $$(Arch) $(DOLLAR)(z)\ny = 3\nqueue",
    "an empty value": "queue x,y from (\n,2\n)",
    "no final newline and spaces": "x =    spaced   out   \nqueue   ",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("forms")
    files = {
        "items.txt": "a 1\nb, 2\nc\n",
        "gaps.txt": "a 1\n\n# b\n  c, 2\n\n",
        "more.inc": "x = included\n",
        "one.dat": "",
        "two.dat": "",
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    for name, text in {"items.sh": 'for i in 1 2 $1; do echo "$i,$i$i"; done', "inc.sh": "echo x = made"}.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    (folder / "d1").mkdir()
    (folder / "d2").mkdir()
    return folder


@pytest.fixture(scope="module")
def kernel(pool, folder):
    started = Kernel(folder)
    assert started.run("%load_ext htcmagic").error is None
    yield started
    started.stop()


@pytest.fixture
def real(real):
    yield real
    real("condor_rm", "-all", check=False)


def jobs(real, cluster):
    """Return what tells the jobs of a cluster apart."""
    return real("condor_q", str(cluster), "-af:tr", *SHOWN).stdout.splitlines()


def sent(kernel, options, cell, line="%%condor -o c "):
    """Submit a cell; the cluster's number."""
    outcome = kernel.run(f"{line}{options}\n{cell}")
    assert outcome.error is None, outcome.error
    return int(kernel.run("print(c.id)").text), outcome


@pytest.mark.parametrize("form", list(FORMS))
def test_a_cell_gives_the_jobs_that_condor_submit_gives(kernel, real, folder, form, monkeypatch):
    monkeypatch.chdir(folder)
    text = f"{HEAD}hold = true\n{FORMS[form]}"
    (folder / "form.sub").write_text(text + "\n")
    terse = real("condor_submit", "-terse", "form.sub").stdout
    wanted = jobs(real, terse.split(".")[0])
    assert wanted
    cluster, _ = sent(kernel, "", text)
    assert jobs(real, cluster) == wanted
    assert int(kernel.run("print(len(c))").text) == len(wanted)
    by_file, _ = sent(kernel, "", "", "%condor_submit form.sub -o c ")
    assert jobs(real, by_file) == wanted


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("queue x in (a\n b", "line 2: the queue statement's list is not closed"),
        ("queue x in (a b) # c", "line 2: the queue statement's list is not closed"),
        ("queue\nqueue", "line 3: there is a second queue statement"),
        ("queue 2\nx = 1", "line 3: there is text after the queue statement"),
        ("queue x matching nothing*", "line 2: queue x matching nothing*: it gives no items"),
        ("queue x in [5:] (a b)", "line 2: queue x in [5:] (a b): the slice leaves no items"),
        ("queue x from nowhere.txt", "nowhere.txt"),
        ("queue many", "line 2: queue many: Invalid Queue count expression"),
        ("queue -1", "line 2: queue -1: Queue count out of range"),
        ("+Foo @=x\nnever closed", "line 2"),
        ("request_memory = a lot of it", "line 2"),
        ("+Foo = 1 +", "line 2"),
        ("universe = vannila", "vannila"),
        ("arguments = \"it's open", "uote"),
    ],
)
def test_a_bad_description_is_told_and_nothing_is_sent(kernel, real, cell, said):
    known = "import htcmagic, os; print(os.listdir(os.environ['HTCMAGIC_HOME'] + '/runs'))"
    before = kernel.run(known).text
    outcome = kernel.run(f"%%condor\nexecutable = /bin/true\n{cell}")
    assert outcome.error is not None
    assert said in outcome.error[2]
    assert len(outcome.error[2].splitlines()) <= 2
    assert kernel.run(known).text == before
    assert real("condor_q", "-af", "ProcId").stdout == ""


def test_settings_and_options_win(kernel, real, folder):
    text = "executable = /bin/echo\nx = cell\narguments = $(x) $(y:none)\nJobPrio = 1\nhold = true\nqueue"
    cluster, _ = sent(kernel, "--set x='a b' --set +Foo=5 --set y=$(x)$(x) -n 3 --name 'my \"own\" é'", text)
    assert (
        real("condor_q", str(cluster), "-af:r", "Args", "Foo", "JobBatchName").stdout.splitlines()
        == ['"a b a ba b" 5 "my \\"own\\" é"'] * 3
    )
    assert kernel.run("print(c.name)").text == 'my "own" é\n'
    (folder / "with.sub").write_text(f"{text} 2")
    by_file, _ = sent(kernel, "", "", "%condor_submit with.sub x=1 -o c y=2 --name f ")
    assert real("condor_q", str(by_file), "-af", "Args").stdout == "1 2\n1 2\n"


def test_relative_paths_start_at_dir(kernel, folder):
    (folder / "d1" / "in.txt").write_text("there\n")
    cell = "executable = /bin/cat\ninput = in.txt\noutput = out.txt\n"
    assert "in.txt does not exist" in kernel.run(f"%%condor\n{cell}").error[2]
    sent(kernel, "--dir d1", cell)
    assert kernel.run("c.wait(60); print(c.stdout())").text == "there\n\n"
    assert (folder / "d1" / "out.txt").read_text() == "there\n"
    assert "there is no such folder" in kernel.run(f"%%condor --dir no\n{cell}").error[2]


@pytest.mark.parametrize("option", ["--max-idle 2", "--max-materialize 2"])
def test_late_materialization_knows_all_of_its_jobs(kernel, real, option):
    kernel.run("items = range(6)")
    _, outcome = sent(kernel, f"{option} --over items", "executable = /bin/echo\narguments = $(Item)")
    assert "6 jobs" in outcome.data[-1]["text/plain"]
    told = kernel.run("c.wait(90); print(len(c), c.status['done'], [j.stdout() for j in c])", timeout=100)
    assert told.text == "6 6 ['0\\n', '1\\n', '2\\n', '3\\n', '4\\n', '5\\n']\n", told.error


def test_late_jobs_end_with_their_cluster(kernel):
    sent(kernel, "--max-idle 1 -n 50", "executable = /bin/sleep\narguments = 100")
    told = kernel.run("c.rm(); c.wait(30); print(c.status['removed'])", timeout=60)
    assert told.text == "50\n", told.error


def test_hold_submits_on_hold(kernel, real):
    cluster, _ = sent(kernel, "--hold -n 2", "executable = /bin/true")
    assert "2 held" in kernel.run("print(c)").text
    assert real("condor_q", str(cluster), "-af", "JobStatus").stdout == "5\n5\n"


def test_spooled_jobs_bring_their_output_back(kernel, folder):
    (folder / "data").write_text("spooled\n")
    cell = "executable = /bin/sh\narguments = \"-c 'cat data; exit $(Process)'\"\ntransfer_input_files = data\nqueue 2"
    sent(kernel, "--spool", cell)
    told = kernel.run("c.wait(90); print([j.stdout() for j in c], c.status['done'], c[1].exception())", timeout=100)
    assert told.text.startswith("['spooled\\n', 'spooled\\n'] 1 Job "), told.error
    assert "ended with exit code 1" in told.text


def test_a_dry_run_sends_nothing(kernel, real):
    known = "import os; print(os.listdir(os.environ['HTCMAGIC_HOME'] + '/runs'))"
    before, queued = kernel.run(known).text, real("condor_q", "-af", "ClusterId").stdout
    kernel.run("grid = [{'x': 1, 'y': 'a b'}, {'x': 2, 'y': 'c'}]; foo = 3")
    cell = "executable = /bin/echo\narguments = $(x) $(y) $(foo)\n"
    shown = kernel.run(f"%%condor --dry-run --over grid\n{cell}")
    assert shown.error is None
    assert shown.data == []
    assert "2 jobs" in shown.text
    assert "arguments = 1 a b 3\n" in shown.text
    assert kernel.run(known).text == before
    assert real("condor_q", "-af", "ClusterId").stdout == queued


def test_clusters_are_listed_newest_first(kernel):
    told = kernel.run("import json, htcmagic; print(json.dumps([c.record.run for c in htcmagic.clusters(limit=5)]))")
    runs = json.loads(told.text)
    assert runs == sorted(runs, reverse=True)
    assert len(runs) == 5
