"""``%%condor_python`` in a real kernel on a real pool: what goes along, what comes back, how it is waited for."""

from __future__ import annotations

import base64
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cellkernel import ran, value
from conftest import Kernel

from htcmagic.functions import jobs, place


@pytest.fixture(scope="module")
def notebook(pool, tmp_path_factory):
    started = Kernel(tmp_path_factory.mktemp("notebook"))
    assert started.run("%load_ext htcmagic\nimport json, os, htcmagic").error is None
    yield started
    started.stop()


# What goes along and what comes back.


def test_the_cell_of_the_issue(notebook):
    notebook.run(
        "class Model:\n    def fit(self, x, y): return {'sum': x + y, 'scale': self.scale}\n"
        "model = Model(); model.scale = 3\npoints = [{'x': 1, 'y': 2}, {'x': 3, 'y': 4}]"
    )
    cell = "import numpy as np\nfit = model.fit(x, y)\nx = np.sqrt(x)"
    sent = ran(notebook, "--over points --memory 200MB --name scan", cell)
    assert sent.text == "Each job asks for 1 CPU, 200MB memory, 1GB disk. From the notebook: model (1 kB).\n"
    assert sent.result.startswith("scan (")
    assert value(notebook, "c['fit']") == [{"sum": 3, "scale": 3}, {"sum": 7, "scale": 3}]
    assert value(notebook, "[c[1]['fit'], c[1].outputs.fit['sum'], list(c[1].outputs), float(c[0].result())]") == [
        {"sum": 7, "scale": 3},
        7,
        ["fit", "x"],
        1.0,
    ]
    assert value(notebook, "[c[1].item, c.name, len(c), c.status['done'], c.errors]") == [
        {"x": 3, "y": 4}, "scan", 2, 2, {},
    ]  # fmt: skip
    told = value(
        notebook, "[list(r) for r in c.to_dataframe()[['x', 'fit']].to_dict('split')['data']]".replace("x'", "y'")
    )
    assert told == [[2, {"sum": 3, "scale": 3}], [4, {"sum": 7, "scale": 3}]]


VALUES = [
    ("6 * 7", 42),
    ("x = 6\nx * 7", 42),
    ("x = 40\nx += 2", 42),
    ("x: int = 42", 42),
    ("print(1)", None),
    ("a, b = 1, 2", {"a": 1, "b": 2}),
    ("for i in range(3):\n    last = i", {"last": 2}),
    ("import os", None),
    ("_hidden = 3\nfor i in range(3): pass", None),
    ("    y = 1\n    y + 1", 2),
    (">>> y = 1\n>>> y + 1", 2),
    ("def f(n): return 1 if n < 2 else n * f(n - 1)\nf(5)", 120),
    ("import sys\n'numpy' in sys.modules or 'cloudpickle' in sys.modules", False),
    ("'€' + \"\\u20ac\"", "€€"),
]


def test_the_value_of_a_cell_is_its_last_line(notebook):
    for number, (cell, _) in enumerate(VALUES):
        assert notebook.run(f"%%condor_python -o v{number}\n{cell}").error is None
    for number, (cell, expected) in enumerate(VALUES):
        found = f"v{number}[0].result()"
        shown = f"dict({found})" if isinstance(expected, dict) else found
        assert value(notebook, shown) == expected, cell
        assert value(notebook, f"v{number}.results() == [{found}]"), cell


def test_all_kinds_of_items(notebook):
    notebook.run(
        "import collections, pandas as pd\nP = collections.namedtuple('P', 'a b')\n"
        "frame = pd.DataFrame({'a': [1, 2], 'b': ['x', 'y']})\n"
        "kinds = {'dicts': [{'a': 1, 'b': 'x'}, {'a': 2, 'b': 'y'}], 'named': [P(1, 'x'), P(2, 'y')], 'frame': frame,\n"
        "         'series': [row for _, row in frame.iterrows()],\n"
        "         'generator': ({'a': n, 'b': t} for n, t in [(1, 'x'), (2, 'y')])}\n"
        "runs = {}"
    )  # fmt: skip
    for kind in value(notebook, "list(kinds)"):
        notebook.run(f"over = kinds[{kind!r}]")
        assert notebook.run("%%condor_python --over over -o c\na * b").error is None
        notebook.run(f"runs[{kind!r}] = c")
    notebook.run("tuples = [(1, 'x'), (2, 'y')]; numbers = range(2); sets = [{1}, {2}]; frames = [frame]")
    for kind, cell in {
        "tuples": "item0 * item1",
        "numbers": "'xyy'[item : 2 * item + 1]",
        "sets": "sum(item) * 'xy'[sum(item) - 1]",
        "frames": "list(item.a * item.b)",
    }.items():
        assert notebook.run(f"%%condor_python --over {kind} -o c\n{cell}").error is None
        notebook.run(f"runs[{kind!r}] = c")
    found = value(notebook, "{kind: run.results(60) for kind, run in runs.items()}")
    assert found.pop("frames") == [["x", "yy"]]
    assert all(results == ["x", "yy"] for results in found.values()), found
    assert len(found) == 8


def test_functions_see_what_the_cell_and_the_item_set(notebook):
    """As in a notebook: not as it was when they were sent."""
    notebook.run("offset = 1\ndef shifted(t): return t + offset + slope\npoints = [{'slope': 10}, {'slope': 20}]")
    ran(notebook, "--over points", "offset = 100\nshifted(1)")
    assert value(notebook, "c.results()") == [111, 121]
    ran(notebook, "--over points", "[shifted(t) for t in (1, 2)]")
    assert value(notebook, "c.results()") == [[12, 13], [22, 23]]


def test_classes_of_the_notebook_come_back_as_themselves(notebook):
    notebook.run(
        "class Point:\n    def __init__(self, x): self.x = x\n    def twice(self): return Point(2 * self.x)\n"
        "p = Point(3)"
    )
    ran(notebook, "", "q = p.twice()")
    assert value(notebook, "[type(c[0]['q']) is Point, c[0]['q'].x, c[0]['q'].twice().x]") == [True, 6, 12]


def test_a_module_beside_the_notebook_is_found(notebook):
    notebook.run("%%writefile beside.py\ndef answer(): return 42")
    notebook.run("import beside; from beside import answer")
    ran(notebook, "", "beside.answer(), answer()")
    assert value(notebook, "c[0].result()") == [42, 42]


def test_what_a_cell_may_set_itself_is_sent_if_it_can_be(notebook):
    notebook.run("import threading\nlock = threading.Lock()\nn = 5")
    ran(notebook, "", "if 'x'.isupper(): n = lock = 3\nfor lock in range(2): n = n + lock\n(n, lock)")
    assert value(notebook, "c[0].result()") == [6, 1]


def test_outputs_that_are_named_and_those_that_are_left_out(notebook):
    cell = (
        "import threading\nbig = bytes(40 << 20)\nopened = threading.Lock()\nsmall = len(big)\nfor i in range(2): pass"
    )
    ran(notebook, "", cell)
    assert value(notebook, "[list(c[0].outputs), c[0].outputs.small]") == [["small"], 40 << 20]
    error = notebook.run("c[0]['big']").error
    assert error[0] == "NoOutput"
    assert "larger than 32 MB; to have it all the same: --outputs" in error[1]
    assert "cannot pickle" in notebook.run("c[0]['opened']").error[1]
    assert "the cell did not set it" in notebook.run("c[0]['nothing']").error[1]
    assert value(notebook, "hasattr(c[0].outputs, 'nothing')") is False
    ran(notebook, "--outputs big,small", cell)
    assert value(notebook, "[len(c[0]['big']), sorted(c[0].result())]") == [40 << 20, ["big", "small"]]
    ran(notebook, "--outputs opened", cell)
    assert notebook.run("c[0].result()").error[1].startswith("opened cannot be brought back: cannot pickle")


def test_what_cannot_be_unpickled_here(notebook):
    ran(notebook, "", "class Odd:\n    def __reduce__(self): return (int, ('odd',))\nodd = Odd()")
    error = notebook.run("c[0]['odd']").error
    assert error[0] == "ResultMissing"
    assert "cannot be unpickled here: ValueError: invalid literal" in error[1]


def test_files_go_along_and_come_home(notebook):
    notebook.run("open('in.txt', 'w').write('from here'); hidden = 7")
    cell = (
        "import htcmagic\n(htcmagic.output_dir() / 'beside.txt').write_text('beside')\n"
        "open('made.txt', 'w').write(open('in.txt').read() + str(globals()['hidden']))\n"
        "made = htcmagic.File('made.txt')"
    )
    ran(notebook, "--inputs in.txt,hidden", cell)
    assert value(notebook, "open(c[0].result()).read()") == "from here7"
    assert value(notebook, "c.files(0)['beside.txt'].read_text()") == "beside"
    assert not value(notebook, "os.path.exists('made.txt')")


def test_threads_and_exit_functions_of_a_cell_have_their_time(notebook, tmp_path):
    cell = (
        "import atexit, pathlib, threading, time\n"
        "def late(name):\n    time.sleep(0.5)\n    pathlib.Path(folder, name).write_text(name)\n"
        "atexit.register(late, 'exit')\nthreading.Thread(target=late, args=('thread',)).start()\nprint('said', end='')"
    )
    notebook.run(f"folder = {str(tmp_path)!r}")
    ran(notebook, "", cell)
    assert value(notebook, "[c.wait().done, c[0].job.stdout()]") == [True, "said"]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["exit", "thread"]


def test_printed_and_displayed_is_kept_and_shown(notebook):
    cell = (
        "print('first'); display({'a': 1})\n"
        "class Rich:\n    def _repr_html_(self): return f'<b>{item}</b>'\n    def __repr__(self): return 'rich'\nRich()"
    )
    notebook.run("two = [1, 2]")
    ran(notebook, "--over two", cell)
    shown = notebook.run("c[1].show()")
    assert shown.text == "first\n"
    assert [d["text/plain"] for d in shown.data] == ["{'a': 1}", "rich"]
    assert shown.data[1]["text/html"] == "<b>2</b>"
    every = notebook.run("c.show()")
    assert "--- item 0: item = 1\nfirst\n" in every.text
    assert "--- item 1: item = 2\nfirst\n" in every.text
    assert len(every.data) == 4
    assert value(notebook, "[c.stdout(1), c[1].stdout(), c.stderr(1)]") == ["first\n", "first\n", ""]


def test_a_figure_is_shown_as_a_notebook_does(notebook):
    ran(notebook, "", "import matplotlib.pyplot as plt\nfigure, axes = plt.subplots()\naxes.plot([1, 2])")
    shown = notebook.run("c[0].show()").data
    assert base64.b64decode(shown[-1]["image/png"]).startswith(b"\x89PNG")


def test_a_single_cell_that_is_waited_for_reads_like_one_that_ran_here(notebook):
    outcome = notebook.run("%%condor_python --wait\nprint('hello')\n6 * 7")
    assert outcome.text.endswith("hello\n")
    assert [d["text/plain"] for d in outcome.data if "done" not in d["text/plain"]][-1] == "42"
    assert len([d for d in outcome.data if "htcmagic-cluster" in d.get("text/html", "")]) == 1
    assert value(notebook, "_.results()") == [42]
    error = notebook.run("%%condor_python --wait\ny = 0\n1 / y").error
    assert error[0] == "ZeroDivisionError"


# Futures, waiting, live output, another session.


def test_they_are_futures_of_concurrent_futures(notebook):
    notebook.run("naps = [0.6, 0]; from concurrent import futures")
    assert notebook.run("%%condor_python --over naps -o c\nimport time\ntime.sleep(item)\nitem").error is None
    assert value(notebook, "[f.index for f in futures.as_completed(c, 60)]") == [1, 0]
    assert value(notebook, "[f.result() for f in c.as_completed()].__len__()") == 2
    told = "[len(futures.wait(c).done), c[0].done(), c[0].exception(), c[-1].index, [f.index for f in c[:1]]]"
    assert value(notebook, told) == [2, True, None, 1, [0]]
    assert notebook.run("c[2]").error[0] == "NoSuchJob"
    told = notebook.run("import asyncio\nawait asyncio.wait_for(asyncio.wrap_future(c[0]), 10)")
    assert told.result == "0.6"


def test_held_and_removed_jobs(notebook):
    assert notebook.run("%%condor_python -o c --hold\n1").error is None
    error = notebook.run("c[0].result(0.2)").error
    assert error[0] == "TimedOut"
    assert f"Job {value(notebook, 'c.id')}.0 is held: submitted on hold" in error[1]
    assert "After 0.1 s" in notebook.run("c.wait(0.1)").error[1]
    notebook.run("c.cluster.release()")
    assert value(notebook, "c.results(60)") == [1]
    notebook.run("two = [1, 2]")
    assert notebook.run("%%condor_python -o c --hold --over two\n1").error is None
    assert value(notebook, "c[0].cancel()") is True
    notebook.run("c.cluster.rm('enough')")
    assert notebook.run("c.wait(60)").error is None
    assert notebook.run("c[0].result()").error[0] == "Cancelled"
    error = notebook.run("c[1].result()").error
    assert error[0] == "JobRemoved"
    assert "enough" in error[1]
    assert value(notebook, "[c[0].cancelled(), c[0].cancel(), list(c.errors), c.done]") == [True, False, [0, 1], True]


def test_prints_reach_the_cell_while_it_waits(notebook):
    notebook.run("two = ['a', 'b']")
    cell = "import time\nfor i in range(3):\n    print(item, i)\n    time.sleep(0.5)"
    notebook.run(f"%%condor_python --over two --follow\n{cell}", send_only=True)
    seen, started = [], time.monotonic()
    while True:
        message = notebook.client.get_iopub_msg(timeout=60)
        if message["msg_type"] == "stream":
            seen.append((time.monotonic() - started, message["content"]["text"]))
        if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
            break
    text = "".join(part for _, part in seen)
    assert sorted(line for line in text.splitlines() if line.startswith("[")) == [
        f"[{n}] {letter} {i}" for n, letter in enumerate("ab") for i in range(3)
    ]
    first = next(when for when, part in seen if "[" in part)
    last = [when for when, part in seen if "[" in part][-1]
    assert last - first > 0.7, "it came all at once"


def test_progress_in_a_job_moves_the_bar(notebook):
    notebook.run("two = [1, 2]")
    cell = "import time, htcmagic\nfor i in range(4):\n    htcmagic.progress(i + 1, 4)\n    time.sleep(1)"
    updates = notebook.run(f"%%condor_python --over two --wait\n{cell}").updates
    shown = [update["text/plain"] for update in updates]
    assert len([text for text in shown if "running (" in text]) > 1, shown


def test_output_can_be_followed_from_a_future(notebook):
    assert notebook.run("%%condor_python -o c\nimport time\nfor i in range(3): print(i); time.sleep(0.3)").error is None
    pieces = value(notebook, "list(c[0].stdout(follow=True))")
    assert "".join(pieces) == "0\n1\n2\n"
    assert len(pieces) > 1


def test_an_interrupt_leaves_the_jobs_and_says_how_to_remove_them(kernel):
    kernel.run("import json")
    kernel.run("%%condor_python -o c --wait\nimport time\ntime.sleep(600)", send_only=True)
    wait_until_busy(kernel)
    kernel.manager.interrupt_kernel()
    outcome = kernel.collect()
    assert outcome.error[0] == "Interrupted"
    cluster = value(kernel, "c.id")
    assert f"%condor_rm {cluster}" in outcome.error[2]
    assert value(kernel, "c.done") is False
    kernel.run("c[0].result()", send_only=True)
    time.sleep(1)
    kernel.manager.interrupt_kernel()
    time.sleep(0.5)
    kernel.manager.interrupt_kernel()
    outcome = kernel.collect()
    assert outcome.error[0] == "Interrupted"
    assert "removed the jobs" in outcome.error[2]
    assert kernel.run("c.wait(30)").error is None


def wait_until_busy(kernel):
    while True:
        message = kernel.client.get_iopub_msg(timeout=60)
        if message["msg_type"] == "display_data":
            time.sleep(0.5)
            return


def test_another_session_finds_the_results(start_kernel):
    first, second = start_kernel(), start_kernel()
    first.run("two = [1, 2]\nimport json")
    first.run("%%condor_python --over two --name kept-cell -o c\nprint('said')\ny = item * 21")
    first.manager.shutdown_kernel(now=True)
    second.run("import json, htcmagic")
    second.run("c = htcmagic.load('kept-cell')")
    assert value(second, "c.results(60)") == [21, 42]
    assert value(second, "[c[1]['y'], c[1].item, c.stdout(1), c is htcmagic.load('kept-cell')]") == [
        42, {"item": 2}, "said\n", True,
    ]  # fmt: skip
    assert value(second, "c.rerun(failed=False).results(60)") == [21, 42]


def test_tab_offers_options_settings_stacks_and_kernels(notebook):
    def offered(text):
        return notebook.client.complete(text, len(text), reply=True, timeout=30)["content"]["matches"]

    assert "--ship-env" in offered("%%condor_python --sh")
    assert (
        "Example" in notebook.run("?%%condor_python").text
        or notebook.run("print(get_ipython().magics_manager.magics['cell']['condor_python'].__doc__)").text
    )


def test_the_examples_of_the_help_run(notebook):
    from test_documentation import examples

    from htcmagic.magics.python import PythonMagics

    cells = examples(PythonMagics.condor_python.__doc__)
    assert len(cells) == 4
    for cell in cells:
        outcome = notebook.run(cell)
        assert outcome.error is None, (cell, outcome.error)
    assert outcome.result.startswith("([5.80")
    for cell in examples(PythonMagics.condor_defaults.__doc__):
        assert notebook.run(cell).error is None
    notebook.run("%condor_defaults --clear")


def test_a_thousand_jobs_of_a_cell_are_ready_quickly():
    from htcmagic.functions import cells

    items = [{"x": n, "y": f"point {n}"} for n in range(1000)]
    order = cells.order("z = x", cells.Wish(over=items, over_name="items"), {})
    assert len(order.tasks) == 1000
    assert order.outputs == ("z",)
    assert order.value == "z"


def test_the_script_of_a_job_is_good_bash(tmp_path):
    shellcheck = Path(sys.executable).with_name("shellcheck")
    archive = tmp_path / "packages.tar.gz"
    for number, where in enumerate(
        (place.Place(), place.Place("", None, "", archive), place.place(container="docker://x"))
    ):
        parts = {"about": where.about, "empty": jobs.EMPTY, "python": where.shell(), "mode": "static"}
        text = jobs.SCRIPT.format(home="/x", folder="/x", bundle="b", arguments='"$chunk"', **parts)
        file = tmp_path / f"{number}.sh"
        file.write_text(text)
        done = subprocess.run([shellcheck, "-e", "SC2154", file], capture_output=True, text=True, check=False)
        assert done.stdout == ""
