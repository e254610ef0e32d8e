"""``%%condor_python`` when something is wrong: in the job, on the disk, or in the cell before it is sent."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import ordinary
import pytest
from cellkernel import ran, refused, value
from conftest import Kernel

OWN_EXCEPTION = "class Own(Exception):\n    def __init__(self, a, b): super().__init__(a)\nraise Own('x', 2)"
"""One that cannot be unpickled, as its __init__ wants more than its args."""


@pytest.fixture(scope="module")
def notebook(pool, tmp_path_factory):
    started = Kernel(tmp_path_factory.mktemp("notebook"))
    assert started.run("%load_ext htcmagic\nimport json, os, htcmagic").error is None
    yield started
    started.stop()


# What goes wrong there.


def test_an_exception_shows_where_it_was_raised_in_the_job(notebook):
    notebook.run("def risky(n):\n    half = n / 2\n    return 1 / (half - 1)\nnumbers = [1, 2, 3]")
    sent = ran(notebook, "--over numbers", "before = item\nrisky(item)")
    assert value(notebook, "[c[0].result(), c[2].result(), c.status['failed'], list(c.errors)]") == [-2.0, 2.0, 1, [1]]
    for asked in ("c[1].result()", "c.results()", "c[1]['before']", "c['before']"):
        error = notebook.run(asked).error
        assert error[:2] == ("ZeroDivisionError", "float division by zero"), asked
        lines = error[2].splitlines()
        assert lines[:5] == [
            "Traceback (in the job, most recent call last):",
            "  Job cell, line 2, in <module>",
            "    risky(item)",
            "  Notebook cell, line 3, in risky",
            "    return 1 / (half - 1)",
        ]
        assert f"In job {value(notebook, 'c.id')}.1 on " in lines[-1]
        assert f"Python {sys.version_info[0]}.{sys.version_info[1]}" in lines[-1]
        assert lines[-1].endswith("/1.err")
        assert "htcmagic/functions" not in error[2]
    explained = notebook.run("c[1].explain()").text
    assert "half = 1.0" in explained
    assert "before = 2" in explained
    assert "item 1: ZeroDivisionError: float division by zero" in value(notebook, "repr(c)")
    assert value(notebook, "repr(c[1])").endswith(".1 failed: ZeroDivisionError: float division by zero>")
    updates = sent.updates or notebook.run("c").data
    assert updates
    shown = notebook.run("c").data[-1]["text/html"]
    assert "item 1: ZeroDivisionError" in shown


def test_what_failed_runs_again_with_more(notebook, tmp_path):
    notebook.run("numbers = [1, 2, 3]")
    flag = tmp_path / "flag"
    ran(notebook, "--over numbers --name twice", f"import os\nif item == 2: open({str(flag)!r})\nitem * 10")
    flag.touch()
    notebook.run("d = c.rerun(memory='300MB')")
    assert value(notebook, "[d.results(60), d[0].item, d.name]") == [[20], {"item": 2}, "twice"]
    job = value(notebook, "d.run_dir.submit_file.read_text()")
    assert "request_memory = 300MB" in job
    error = notebook.run("d.rerun()").error
    assert error[1].startswith("No job has failed")
    assert value(notebook, "d.rerun(failed=False).results(60)") == [20]
    assert "memry is no submit command" in notebook.run("d.rerun(memry=1)").error[1]


@pytest.mark.parametrize(
    ("cell", "kind", "said", "hint"),
    [
        ("import os; os._exit(3)", "WorkerLost", "ended with exit code 3, in the midst of", "nothing to its"),
        ("import ctypes; ctypes.string_at(0)", "WorkerLost", "ended by signal 11 (SIGSEGV)", '"<job cell>", line 1'),
        ("import os; os.kill(os.getpid(), 9)", "WorkerLost", "ended by signal 9 (SIGKILL)", ""),
        ("import sys; sys.exit('done')", "TaskFailed", "SystemExit: done", ""),
        ("raise KeyboardInterrupt", "TaskFailed", "KeyboardInterrupt", ""),
        (OWN_EXCEPTION, "TaskFailed", "Own: x", ""),
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "transferred",
    [
        pytest.param("", id="shared"),
        pytest.param("should_transfer_files=YES", id="copied", marks=pytest.mark.slow),
    ],
)
def test_however_a_cell_ends_it_is_told(notebook, cell, kind, said, hint, transferred):
    ran(notebook, transferred, cell)
    error = notebook.run("c[0].result()").error
    assert error[0] == kind
    assert said in error[2]
    assert hint in error[2]
    assert value(notebook, "c.status['failed']") == 1


def test_a_result_that_was_damaged_or_is_anothers_is_not_read(notebook):
    ran(notebook, "", "x = 1")
    file = Path(value(notebook, "str(c.run_dir.path / 'results/0')"))
    whole = file.read_bytes()
    file.write_bytes(whole[:-3])
    assert "is not whole" in notebook.run("c[0].result()").error[1]
    file.unlink()
    error = notebook.run("c[0].result()").error
    assert error[0] == "ResultMissing"
    assert "No such file" in error[1]
    file.write_bytes(whole)
    os.chown(file, ordinary.anybody().pw_uid, -1)
    error = notebook.run("c[0].result()").error
    assert error[0] == "ResultMissing"
    assert "belongs to another user" in error[1]
    file.unlink()
    file.symlink_to("/etc/passwd")
    assert notebook.run("c[0].result()").error[0] == "ResultMissing"


def test_much_that_is_printed(notebook):
    ran(notebook, "", "for i in range(100): print('x' * (1 << 20))\nprint('end')")
    assert value(notebook, "[len(c[0].outcome().stdout) < 70_000, c[0].outcome().stdout[-4:], len(c.stdout())]") == [
        True, "end\n", 10_000_000,
    ]  # fmt: skip
    assert "characters are left out here" in value(notebook, "c[0].outcome().stdout")


def test_a_full_disk_is_told_and_nothing_is_left(notebook):
    before = (
        value(notebook, "sorted(os.listdir(htcmagic.places.runs_dir()))", 30)
        if notebook.run("import htcmagic.places").error is None
        else None
    )
    notebook.run("much = bytes(100_000)")
    outcome = notebook.run(
        "import resource\nbefore = resource.getrlimit(resource.RLIMIT_FSIZE)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))\n"
        "try: get_ipython().run_cell_magic('condor_python', '', 'len(much)')\n"
        "finally: resource.setrlimit(resource.RLIMIT_FSIZE, before)\n"
    )
    assert outcome.error[0] == "HTCMagicError"
    assert "File too large" in outcome.error[2]
    assert len(outcome.error[2].splitlines()) == 2
    assert value(notebook, "sorted(os.listdir(htcmagic.places.runs_dir()))") == before


def test_a_disk_that_is_full_when_the_result_is_written(notebook):
    cell = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\nmuch = bytes(100_000)"
    ran(notebook, "", cell)
    error = notebook.run("c[0].result()").error
    assert error[0] == "ResultMissing"
    assert "File too large" in error[2]


# What is refused before anything is sent.


@pytest.mark.parametrize(
    ("line", "cell", "said"),
    [
        ("", "  \n", "there is no code"),
        ("", "y = model2(3)", "line 1: model2 is not defined, neither in the notebook nor by the items.\nDid you"),
        ("--over points", "z = 1\nz + xx", "line 2: xx is not defined"),
        ("", "x = 1\nx = (", "line 2: '(' was never closed."),
        ("", "return 3", "line 1: 'return' outside function"),
        ("", "x = 1\n!ls", "line 2: !ls: that is IPython's, and in a job there is plain Python only."),
        ("", "%timeit 3", "line 1: %timeit 3: that is IPython's"),
        ("", "files = !ls", "line 1: files = !ls: that is IPython's"),
        ("", "get_ipython().system('ls')", "line 1: get_ipython is not there in a job"),
        ("", "lock", "lock, which the cell uses, cannot be sent to a job: cannot pickle '_thread.lock' object"),
        ("", "len(huge)", "huge, which the cell uses, is too large to send: more than 200 MB."),
        ("--over locks", "item", "item, which item 1 uses, cannot be sent"),
        ("--over empty", "item", "--over empty: it is empty, so there is no job to send."),
        ("--over points[:1]", "1", "--over takes the name of a variable"),
        ("--over point", "1", "there is no variable point in the notebook. Did you mean points?"),
        ("--over text", "1", "--over text: str is not a list of items."),
        ("--over odd", "1", "--over odd: item 0: 'a b' cannot be the name of a variable."),
        ("--over keyword", "1", "--over keyword: item 0: 'class' cannot be the name of a variable."),
        ("--over endless", "1", "--over endless: more than 100,000 items"),
        ("--over raising", "1", "midway"),
        ("--outputs fitt", "fit = 1", "--outputs fitt: the cell never sets fitt. Did you mean fit?"),
        ("--inputs nothing.txt", "1", "--inputs nothing.txt: there is no such file, nor a variable of that name."),
        ("--memry 2GB", "1", "%condor_python has no option --memry. Did you mean --memory?"),
        ("request_memry=2GB", "1", "request_memry is no submit command.\nDid you mean request_memory?"),
        ("executable=/bin/true", "1", "executable: that is how Python work itself is done."),
        ("oops", "1", "oops: a setting is written KEY=VALUE"),
        ("-o 1x", "1", "-o 1x: not a Python name."),
        ("--kernel nowhere", "1", "There is no kernel 'nowhere'"),
        ("--dir /no/folder", "1", "--dir /no/folder: there is no such folder."),
        ("--container docker://a --stack lcg", "1", "--container and --stack both say where Python comes from."),
    ],
)  # fmt: skip
def test_a_slip_is_told_in_two_lines_and_nothing_is_sent(notebook, line, cell, said):
    if notebook.run("slips_are_set").error is not None:
        made = notebook.run(
            "import itertools, threading\nslips_are_set = 1; model = abs; points = [{'x': 1}]\n"
            "lock = threading.Lock(); locks = [1, lock]; empty = []; text = 'abc'\n"
            "huge = bytes(300 << 20); odd = [{'a b': 1}]; keyword = [{'class': 1}]\n"
            "endless = itertools.count()\ndef generate():\n    yield 1\n    raise RuntimeError('midway')"
        )  # fmt: skip
        assert made.error is None
    notebook.run("raising = generate()")
    if line == "--over raising":
        outcome = notebook.run(f"%%condor_python {line}\n{cell}")
        assert outcome.error[:2] == ("RuntimeError", "midway"), "the user's own error is shown as it is"
        return
    assert said in refused(notebook, line, cell)


def test_a_name_that_may_be_missing_is_a_warning(notebook):
    sent = notebook.run("%%condor_python -o c\nif False: model2(3)\n1")
    assert "Warning: line 1: model2 is not defined, neither in the notebook nor by the items." in sent.text
    assert value(notebook, "c.results(60)") == [1]


def test_a_dry_run_sends_nothing(notebook):
    notebook.run("points = [{'x': 1}, {'x': 2}]")
    before = value(notebook, "len(htcmagic.clusters())")
    shown = notebook.run("%%condor_python --over points --dry-run --cpus 2 'requirements=Memory > 1'\nx").text
    assert "Nothing was sent. 2 jobs" in shown
    assert "request_cpus = 2" in shown
    assert "requirements = Memory > 1" in shown
    assert value(notebook, "len(htcmagic.clusters())") == before


def test_defaults_of_a_notebook(notebook):
    assert notebook.run("%condor_defaults").text == "request_cpus=1 request_memory=1GB request_disk=1GB\n"
    try:
        assert "request_memory=300MB" in notebook.run("%condor_defaults request_memory=300MB").text
        assert "300MB memory" in notebook.run("%%condor_python --dry-run\n1").text
        assert "400MB memory" in notebook.run("%%condor_python --dry-run --memory 400MB\n1").text
        assert "Did you mean request_memory?" in notebook.run("%condor_defaults request_memry=1").error[2]
    finally:
        assert "request_memory=1GB" in notebook.run("%condor_defaults --clear").text
