"""What may be written on a magic's line, and what is said to slips, in a real kernel on a real pool."""

from __future__ import annotations

import pytest
from conftest import Kernel

TRUE = "executable = /bin/true"
RUNS = (
    "import os; d = os.environ['HTCMAGIC_HOME'] + '/runs'; os.makedirs(d, exist_ok=True); print(sorted(os.listdir(d)))"
)
HOSTILE = [
    "a b.sh",
    "it's.sh",
    'say "x".sh',
    "cost$5.sh",
    "$(HOME).sh",
    "größe ☃.sh",
    "#hash.sh",
    "comma,semi;.sh",
    "back\\slash.sh",
]


@pytest.fixture(scope="module")
def kernel(pool, tmp_path_factory):
    started = Kernel(tmp_path_factory.mktemp("notebook"))
    assert started.run("%load_ext htcmagic").error is None
    yield started
    started.stop()


@pytest.fixture(autouse=True)
def empty_queue(real):
    yield
    real("condor_rm", "-all", check=False)


def shown(kernel, cell):
    """Run a cell that must fail in at most two lines, none of them a traceback's; what was shown."""
    before = kernel.run(RUNS).text
    outcome = kernel.run(cell)
    lines = (outcome.text + (outcome.error[2] if outcome.error else "")).strip().splitlines()
    assert 1 <= len(lines) <= 2
    assert not any("Traceback" in line or "File <" in line for line in lines)
    assert outcome.data == []
    assert kernel.run(RUNS).text == before
    return "\n".join(lines)


def submitted(kernel, options="--hold", cell=TRUE):
    """Submit; the cluster's id."""
    outcome = kernel.run(f"%%condor -o c {options}\n{cell}")
    assert outcome.error is None, outcome.error
    return kernel.run("print(c.id)").text.strip()


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        (f"%%condor --ovr x\n{TRUE}", "%condor has no option --ovr. Did you mean --over? Its options: %condor?"),
        (f"%%condor --max_idle 3\n{TRUE}", "has no option --max_idle. Did you mean --max-idle?"),
        (f"%%condor --frobnicate\n{TRUE}", "%condor has no option --frobnicate. Its options: %condor?"),
        (f"%%condor --over\n{TRUE}", "--over: expected one argument"),
        (f"%%condor --count many\n{TRUE}", "invalid int value: 'many'"),
        (f"%%condor --count 0\n{TRUE}", "--count 0: at least 1."),
        (f"%%condor --name 'open\n{TRUE}", "No closing quotation: --name 'open"),
        (f"%%condor word\n{TRUE}", "unrecognized arguments: word"),
        (f"%%condor -o 1x\n{TRUE}", "-o 1x: not a Python name."),
        (f"%%condor -o class\n{TRUE}", "-o class: not a Python name."),
        (f"%%condor --set x\n{TRUE}", "x: a setting is written KEY=VALUE"),
        (f"%%condor --over nothing\n{TRUE}", "--over nothing: there is no variable nothing in the notebook."),
        (f"none = None\n%%condor --over none\n{TRUE}".partition("\n")[2], "--over none"),
        (f"%%condor --over number\n{TRUE}", "--over number: int is not a list of items."),
        (f"%%condor --over text\n{TRUE}", "--over text: str is not a list of items."),
        (f"%%condor --over empty\n{TRUE}", "--over empty: it is empty, so there is no job to send."),
        (f"%%condor --over mixed\n{TRUE}", "item 1 is a int, the first is not."),
        (f"%%condor --over broken\n{TRUE}", "--over broken: item 1, Item holds a line break"),
        (f"%%condor --over objects\n{TRUE}", "is of type object: a macro takes str, int, float or Path."),
        (f"%%condor --over grid\n{TRUE}\nqueue z from (\na\n)", "gives the items, and so does the cell's queue"),
        (f"%%condor --max-idle 0\n{TRUE}", "--max-idle 0: at least 1."),
        (f"%%condor --schedd nowhere.example\n{TRUE}", "where to look for the schedd nowhere.example"),
        ("%%condor\narguments = 1", "the description names no executable."),
        ("%%condor\nexecutable = nothing.sh", "the executable nothing.sh does not exist."),
        ("%%condor\nexecutable = /tmp", "the executable /tmp is a folder."),
        ("%%condor\nexecutable = /etc/passwd", "the executable /etc/passwd may not be executed."),
        (f"%%condor\n{TRUE}\ninput = no.txt", "the input file no.txt does not exist."),
        (f"%%condor\n{TRUE}\ntransfer_input_files = /etc/passwd, no.txt", "the input file no.txt does not exist."),
        (
            f"%%condor\n{TRUE}\ninput = $(f)\nqueue f in (/etc/passwd a b)",
            "the input file a does not exist (and 1 more).",
        ),
        (f"%%condor\n{TRUE}\narguments = $(unheard)", "line 2: the macro $(unheard) is not defined."),
        (f"%%condor\n{TRUE}\narguments = $(grid)", "the notebook's variable grid is a list."),
        ("%condor_submit no.sub", "There is no file no.sub in"),
        ("%condor_submit", "the following arguments are required: FILE"),
        ("%condor_rm", "Say which jobs: %condor_rm 17"),
        ("%condor_rm 1 -all", "Say which jobs: %condor_rm 17"),
        ("%condor_rm 1/2", "1/2 is no job id (17 or 17.3), cluster of yours or user's name."),
        ("%condor_rm -constraint 'ClusterId =='", "'ClusterId ==' is not a ClassAd expression."),
        ("%condor_hold -reson x 1", "%condor_hold has no option -reson. Did you mean"),
        ("%condor_wait nothing", "There is no cluster nothing of yours."),
        ("%condor_wait /etc/passwd", "/etc/passwd is not the event log of anything you sent from here."),
        ("%condor_wait", "the following arguments are required"),
        ("%condor_wait x -wait soon", "invalid float value: 'soon'"),
    ],
)
def test_slips_are_told_in_two_lines(kernel, cell, said):
    kernel.run(
        "none = None; number = 5; text = 'abc'; empty = []; mixed = [(1, 2), 3]; broken = ['a', 'b\\nc'];"
        " objects = [object()]; grid = [{'x': 1}]"
    )
    assert said in shown(kernel, cell)


@pytest.mark.parametrize("line", ["f.sub -o d x=1", "-o d f.sub x=1", "-o d f.sub --set x=1", "--out=d -set x=1 f.sub"])
def test_options_may_stand_anywhere(kernel, real, line):
    kernel.run("open('f.sub', 'w').write('executable = /bin/echo\\narguments = $(x) {y}\\nhold = true\\nqueue 2\\n')")
    kernel.run("x = 'python'; y = 'python'; d = None")
    outcome = kernel.run(f"%condor_submit {line}")
    assert outcome.error is None, outcome.error
    assert real("condor_q", kernel.run("print(d.id)").text.strip(), "-af", "Args").stdout == "1 {y}\n" * 2


def test_one_dash_and_abbreviations_are_taken_and_text_is_left_alone(kernel):
    kernel.run("x = y = 'python'")
    outcome = kernel.run(f"%%condor -max-idle 2 -batch-name '$x {{y}}' --set=+Foo=3 -hol -o e\n{TRUE}\nqueue 3")
    assert outcome.error is None, outcome.error
    assert kernel.run("print(e.name, len(e))").text == "$x {y} 3\n", outcome.text


@pytest.mark.parametrize(
    "words", ["{0}", "{0}.0 {0}.1", "-constraint 'ClusterId == {0}'", "-cons ClusterId=={0}", "-all"]
)
@pytest.mark.parametrize(
    ("command", "attribute", "status"),
    [("rm", "RemoveReason", "3"), ("hold", "HoldReason", "5"), ("release", "ReleaseReason", "1")],
)
def test_acting_on_jobs_by_every_word(kernel, real, command, attribute, status, words):
    cell = "executable = /bin/sleep\narguments = 60\nrequirements = false\nqueue 2"
    cluster = submitted(kernel, "" if command == "hold" else "--hold", cell)
    outcome = kernel.run(f"%condor_{command} {words.format(cluster)} -reason 'it'\"'\"'s \"x\" $HOME {{y}} é a\\b'")
    assert outcome.error is None, outcome.error
    assert "not found" not in outcome.text
    tool = "condor_history" if command == "rm" else "condor_q"
    left = [row.split("\t") for row in real(tool, cluster, "-af:t", "JobStatus", attribute).stdout.splitlines()]
    assert [row[0] for row in left] == [status] * 2
    assert [row[1].partition(" (by ")[0] for row in left] == ['it\'s "x" $HOME {y} é a\\b'] * 2


def test_acting_by_user_and_on_what_is_not_there(kernel, real):
    cluster = submitted(kernel, "--hold -n 2")
    owner = real("condor_q", cluster, "-af", "Owner").stdout.split()[0]
    assert kernel.run(f"%condor_release {cluster}.7").text == f"Job {cluster}.7: not found in the queue.\n"
    assert kernel.run("%condor_hold 99999").text == "Not found in the queue: cluster 99999.\n"
    assert kernel.run(f"%condor_hold {cluster}.0").text == f"Job {cluster}.0 was held already.\n"
    assert kernel.run(f"%condor_rm {cluster}.0").text == f"Job {cluster}.0 marked for removal.\n"
    assert kernel.run("%condor_rm nobody").text == "Not found in the queue: user nobody.\n"
    assert kernel.run("%condor_rm -constraint false").text == "No job was found for this.\n"
    said = kernel.run(f"%condor_rm {owner}").text
    assert said == "1 job marked for removal.\n"
    assert real("condor_q", "-af", "ProcId").stdout == ""


def test_waiting_by_log_id_and_name(kernel):
    cluster = submitted(kernel, "--hold --name tea", f"{TRUE}\nlog = tea.log")
    for word in ("tea", cluster, "tea.log", f"tea.log {cluster}"):
        assert kernel.run(f"%condor_wait {word} -wait 0.2").text.startswith(f"Time expired: tea ({cluster})")
    assert kernel.run(f"%condor_wait {cluster}.0 -wait 0.2").text == f"Time expired: {cluster}.0 is held\n"
    kernel.run("c.release()")
    for word in ("tea", cluster, "tea.log"):
        assert kernel.run(f"%condor_wait {word}").text == "All jobs done.\n"


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_file_names_work(kernel, name):
    kernel.run(
        f"import os, pathlib; name = {name!r}; names = [name]\n"
        "pathlib.Path(name).write_text('#!/bin/sh\\ncat\\n'); os.chmod(name, 0o755);"
        " pathlib.Path(name + '.in').write_text('read ' + name)"
    )
    absent = shown(kernel, "%%condor --over names\nexecutable = $(Item).not\n")
    assert f"the executable {name}.not does not exist." in absent
    outcome = kernel.run("%%condor --over names -o c\nexecutable = $(Item)\ninput = $(Item).in\n")
    assert outcome.error is None, outcome.error
    waited = kernel.run("c.wait(30); print(c.stdout() == 'read ' + name, c.stderr(), c[0].item == {'Item': name})")
    assert waited.text == "True  True\n", waited.error


def test_no_check_sends_all_the_same(kernel):
    outcome = kernel.run("%%condor --no-check --hold\nexecutable = only_there.sh\ntransfer_executable = false")
    assert outcome.error is None, outcome.error
    outcome = kernel.run(f"%%condor --no-check --hold\n{TRUE}\ninput = no.txt")
    assert outcome.error is None, outcome.error
