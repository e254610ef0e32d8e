"""Live views where they are shown: in a notebook, in one that was executed, in a terminal; and how they end."""

from __future__ import annotations

import os
import re
import sys

import nbformat
import pytest
from test_live_view import HELD, SLEEP


def test_a_view_is_updated_until_all_has_ended(kernel):
    kernel.run(f"%%condor --name short\n{SLEEP.replace('600', '$(Process)')}queue 3")
    shown = kernel.run("view = %condor_watch short")
    assert set(shown.data[0]) == {"text/html", "text/plain"}
    assert len(shown.data) == 1
    seen = kernel.run("import time\nwhile not view.ended: time.sleep(.1)\ntime.sleep(.3); print(view)", 60)
    assert "3 done [all ended]" in seen.text
    pages = [update["text/html"] for update in seen.updates]
    assert any("running" in page for page in pages)
    assert "all ended, as of" in pages[-1]
    assert "<details>" in pages[-1]
    assert "short" in seen.updates[-1]["text/plain"]
    quiet = kernel.run("time.sleep(1.5); import threading; print([t.name for t in threading.enumerate()])")
    assert "htcmagic-watch" not in quiet.text
    assert not [u for u in quiet.updates if "htcmagic-watch" in u["text/html"]]


def test_a_view_is_stopped_and_shown_again(kernel):
    cluster = re.search(r"\((\d+)\)", kernel.run(f"%%condor --name stay\n{HELD}queue 2").result)[1]
    kernel.run("view = %condor_q --watch")
    stopped = kernel.run("view.stop(); import time; time.sleep(.5)")
    assert any("stopped, as of" in update["text/html"] for update in stopped.updates)
    assert "stay" in kernel.run("view").data[0]["text/plain"]
    assert kernel.run("bare = %condor_watch stay").error is None
    assert f"{cluster}.0-1" in kernel.run("%condor_watch stay --form text").text
    kernel.run(f"bare.stop()\n%condor_rm {cluster}")


def test_a_cell_that_runs_again_ends_its_older_view(kernel):
    kernel.run(f"%%condor --name again\n{HELD}queue")

    def execute(code, cell, **more):
        content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False}
        message = kernel.client.session.msg("execute_request", content, metadata={"cellId": cell, **more})
        kernel.client.shell_channel.send(message)
        kernel.message = message["header"]["msg_id"]
        return kernel.collect()

    for turn in range(3):
        assert execute(f"view{turn} = %condor_watch --form html", "a").error is None
    assert execute("print(view0.ended, view1.ended, repr(view2.ended))", "b").text == "gone gone ''\n"
    assert execute("print(view2.ended)", "b", deletedCells=["a"]).text == "gone\n"
    kernel.run("%condor_rm again")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("%condor_q --watch -run", "With --watch go ids and owners"),
        ("%condor_q --watch -af Cmd", "With --watch go ids and owners"),
        ("%condor_q --form html", "--form is a live view's"),
        ("%condor_watch nosuchname", "nosuchname"),
        ("%condor_watch --form bare", "bare"),
        ("%condor_q --watch 'a b'", "a b"),
    ],
)
def test_slips_are_told_in_a_line_or_two(kernel, line, message):
    outcome = kernel.run(line)
    said = outcome.text + (outcome.error[2] if outcome.error else "")
    assert message in said
    assert "Traceback" not in said


def test_an_executed_notebook_keeps_the_last_state_without_any_network(pool, notebook_dir):
    import nbclient
    from nbconvert import HTMLExporter

    cells = ["%load_ext htcmagic", f"%%condor --name kept\n{HELD}queue 2", "%condor_watch kept", "%condor_rm kept"]
    cells += ["import time; time.sleep(3)"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbclient.NotebookClient(notebook, timeout=60, resources={"metadata": {"path": str(notebook_dir)}}).execute()
    (output,) = notebook.cells[2].outputs
    assert set(output["data"]) == {"text/html", "text/plain"}
    assert "2 removed" in output["data"]["text/plain"]
    page, _ = HTMLExporter().from_notebook_node(notebook)
    assert "all ended, as of" in page
    assert "widget" not in page.partition("<body")[2]


def terminal(folder, *arguments):
    """Start IPython in a terminal of 80 columns."""
    import pexpect

    environment = {**os.environ, "TERM": "xterm", "IPYTHONDIR": str(folder)}
    command = ["-m", "IPython", "--no-banner", "--colors=nocolor", "--simple-prompt", *arguments]
    options = {"env": environment, "dimensions": (24, 80), "encoding": "utf-8", "timeout": 60}
    return pexpect.spawn(sys.executable, command, **options)


def test_a_terminal_is_redrawn_and_left_clean(kernel, tmp_path):
    kernel.run(f"%%condor --name shown\n{HELD}queue 2")
    child = terminal(tmp_path)
    try:
        child.expect_exact("In [1]: ")
        child.sendline("%load_ext htcmagic")
        child.expect_exact("In [2]: ")
        child.sendline("%condor_watch shown")
        for _ in range(3):
            child.expect_exact("Ctrl-C ends the view")
        assert "shown" in child.before
        child.sendintr()
        child.expect_exact("In [3]: ")
        left = child.before.rpartition("\x1b[?1049l")[2]
        assert left.startswith("\x1b[?25h")
        assert "stopped" in left
        assert "2 held" in left
        assert "Traceback" not in left
        kernel.run("%condor_release shown\n%condor_rm shown")
        child.sendline("%condor_watch shown")
        child.expect_exact("In [4]: ")
        assert "all ended" in child.before
        child.sendline("exit")
    finally:
        child.close(force=True)


def test_without_a_terminal_there_is_one_table(kernel, tmp_path):
    import subprocess

    kernel.run(f"%%condor --name piped\n{HELD}queue 2")
    lines = "%load_ext htcmagic\n%condor_watch piped\n%condor_q --watch"
    done = subprocess.run(
        [sys.executable, "-m", "IPython", "--no-banner", "--colors=nocolor", "-c", lines],
        env={**os.environ, "IPYTHONDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.count("BATCH") == 2
    assert "\x1b" not in done.stdout
    assert "2 held" in done.stdout.splitlines()[0]
    kernel.run("%condor_rm piped")
