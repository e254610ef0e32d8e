"""A kernel's life: interrupts, restart, a server that is killed; and the kernel that says why another did not start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import kernels
import nbclient
import nbformat
import pytest

from htcmagic.kernels.recipe import Recipe

SERVER = Path(__file__).with_name("kernel_server.py")


@pytest.fixture(params=[False, True], ids=["init", "subreaper"])
def server(request):
    """Start a server that will be killed; what it says is read line by line."""
    running = []

    def start(folder, *words):
        more = ["--subreaper"] if request.param else []
        running.append(
            subprocess.Popen(
                [sys.executable, SERVER, folder, *more, *words],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        )
        return running[-1]

    yield start
    for one in running:
        one.kill()
        one.stdout.close()
        one.wait()


@pytest.mark.parametrize("phase", ["set-up", "stubborn set-up", "idle", "busy", "busy below"])
def test_nothing_is_left_of_a_kernel_whose_server_is_killed(phase, server, tmp_path):
    setup = {"set-up": "sleep 100 & sleep 100\n", "stubborn set-up": "trap '' TERM\nsleep 100\nsleep 100\n"}.get(
        phase, ""
    )
    kernel = kernels.sourcing(tmp_path, setup)
    cell = {"busy": "while True: pass", "busy below": "import os; os.system('sleep 100; sleep 100')"}.get(phase)
    running = server(kernel, *([cell] if cell else []))
    pid, killed = map(int, running.stdout.readline().split())
    if "set-up" in phase:
        deadline = time.monotonic() + 20
        while not any("sleep" in line for line in kernels.group(pid).values()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    else:
        assert running.stdout.readline() == "ready\n"
        if cell:
            assert running.stdout.readline() == "busy\n"
    assert kernels.group(pid)
    os.kill(killed, signal.SIGKILL)
    assert kernels.gone(pid, 6)


def test_an_interrupt_during_the_set_up_does_no_harm(tmp_path):
    kernel = kernels.sourcing(tmp_path, "echo begun\nsleep 1.5\nexport DONE=yes\n")
    with kernels.started(kernel, ready=False) as running:
        for _ in range(8):
            time.sleep(0.2)
            os.killpg(running.pid, signal.SIGINT)
        running.ready()
        assert running.run("import os; print(os.environ['DONE'])").text == "yes\n"


def test_an_interrupt_arrives_once(tmp_path):
    kernel = kernels.sourcing(tmp_path, SETUP)
    with kernels.started(kernel) as running:
        running.run("import time\nseen = 0")
        for number in range(1, 6):
            running.send(
                "print('begun')\n"
                "try:\n    time.sleep(20)\nexcept KeyboardInterrupt:\n    seen += 1\n"
                "time.sleep(0.4)\nprint(seen)"
            )
            time.sleep(0.4)
            running.manager.interrupt_kernel()
            outcome = running.collect(20)
            assert outcome.error is None
            assert outcome.text.split() == ["begun", str(number)]


SETUP = "echo a line\nexport HELLO='you there'\n"


def test_restart_and_shutdown(tmp_path):
    kernel = kernels.sourcing(tmp_path, SETUP)
    with kernels.started(kernel) as running:
        running.run("x = 1")
        running.manager.restart_kernel()
        running.ready()
        outcome = running.run("import os; print(os.environ['HELLO'], 'x' in globals())")
        assert outcome.text == "you there False\n"
        pid, began = running.pid, time.monotonic()
        running.manager.shutdown_kernel()
        assert time.monotonic() - began < 10
        assert kernels.gone(pid, 1)


def test_a_shutdown_during_the_set_up_leaves_nothing(tmp_path):
    kernel = kernels.sourcing(tmp_path, "sleep 100 & sleep 100\n")
    home = tmp_path / "home"
    running = kernels.Started(kernel, {"HTCMAGIC_HOME": str(home), "XDG_RUNTIME_DIR": ""})
    pid = running.pid
    time.sleep(0.7)
    os.killpg(pid, signal.SIGTERM)
    assert kernels.gone(pid, 5)
    assert [file.name for file in home.glob("logs/*")] == ["mine.log"]
    running.stop()


def test_ctrl_c_ends_a_command_s_set_up(tmp_path):
    kernel = kernels.sourcing(tmp_path, "sleep 100 & sleep 100\n")
    running = subprocess.Popen(
        [kernel / "setup.sh", "--run", "true"], start_new_session=True, stderr=subprocess.DEVNULL
    )
    time.sleep(0.7)
    os.killpg(running.pid, signal.SIGINT)
    assert running.wait(10) == 130
    assert kernels.gone(running.pid, 2)


def broken(folder: Path, setup: str = "echo what it said $((1 / 0))\necho more\nexit 3\n", **more):
    return kernels.sourcing(folder, setup, "broken", **more)


def test_a_kernel_that_cannot_start_says_why(tmp_path):
    kernel = broken(tmp_path, "printf 'one\\0\\377\\033[31mred\\n'\necho the cause >&2\nexit 3\n")
    with kernels.started(kernel) as running:
        outcome = running.run("1 + 1")
        assert outcome.error is not None
        name, reason, shown = outcome.error
        assert name == "KernelNotStarted"
        assert "the set-up ended early, with exit status 3" in reason
        assert "the cause" in shown
        assert "broken.log" in shown
        assert "htc-kernel check broken" in shown
        assert not any(ord(one) < 32 and one not in "\n\t" for one in shown)
        assert "the cause" in running.said
        assert running.run("1", silent=True).error is None
        running.client.execute("x", user_expressions={"a": "1"})
        for question in (
            running.client.complete("pri"),
            running.client.inspect("print"),
            running.client.is_complete("1 +"),
            running.client.history(),
        ):
            deadline = time.monotonic() + 20
            while running.client.get_shell_msg(timeout=20)["parent_header"].get("msg_id") != question:
                assert time.monotonic() < deadline
        running.manager.interrupt_kernel()
        assert running.run("2").error is not None
        running.manager.restart_kernel()
        running.ready()
        assert running.run("3").error is not None
        (tmp_path / "broken.source.sh").write_text("export MENDED=1\n")
        running.manager.restart_kernel()
        running.ready()
        assert running.run("import os; print(os.environ['MENDED'])").text == "1\n"
        pid = running.pid
        running.manager.shutdown_kernel()
        assert kernels.gone(pid, 3)


def test_a_notebook_run_by_a_program_shows_the_reason(tmp_path):
    kernel = broken(tmp_path)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 + 1")])
    client = nbclient.NotebookClient(notebook, km=kernels.manager(kernel), timeout=60)
    try:
        with pytest.raises(nbclient.exceptions.CellExecutionError, match="the set-up ended early"):
            client.execute(cwd=str(tmp_path))
    finally:
        client.kc.stop_channels()
        client.km.shutdown_kernel(now=True)
        client.km.cleanup_resources()
    assert notebook.cells[0].outputs[0]["ename"] == "KernelNotStarted"


PROBLEMS = {
    "no python": ({"python": "/nowhere/python3"}, "", "there is no /nowhere/python3"),
    "python of the set-up": ({"python": "$MY/python"}, "export MY=/no\n", "there is no /no/python after the set-up"),
    "python dies": ({"python": "/bin/false"}, "", "/bin/false does not start"),
    "python cannot load": ({}, "export PYTHONHOME=/nowhere\n", "does not start"),
    "no ipykernel": ({}, "export PYTHONPATH=$SHADOW\n", "cannot import ipykernel: ZeroDivisionError"),
    "script is gone": ({"sources": ("/nowhere/setup.sh",)}, "", "there is no script /nowhere/setup.sh"),
    "too slow": ({"timeout_s": 1}, "sleep 50\n", "the set-up did not end within 1 s"),
    "too much": ({}, "for i in {1..70}; do export V$i=$(printf %0100000d 1); done\n", "too large for any program"),
}  # fmt: skip


@pytest.mark.parametrize("problem", PROBLEMS)
def test_each_problem_is_told_in_the_notebook(problem, tmp_path):
    recipe, setup, reason = PROBLEMS[problem]
    shadow = tmp_path / "shadow/ipykernel"
    shadow.mkdir(parents=True)
    (shadow / "__init__.py").write_text("1 / 0\n")
    script = tmp_path / "source.sh"
    script.write_text(setup)
    values = {"sources": (str(script),), "python": sys.executable, "creator": sys.executable, **recipe}
    kernel = kernels.write(Recipe("broken", "broken", **values), tmp_path)
    with kernels.started(kernel, {"SHADOW": str(shadow.parent)}) as running:
        outcome = running.run("1")
        assert outcome.error is not None
        assert reason in outcome.error[1] or reason in outcome.error[2]
        assert running.run("import os; print(os.environ)").error == outcome.error


def test_the_server_s_python_tells_where_the_creator_s_is_gone(tmp_path):
    kernel = broken(tmp_path, creator="/nowhere/python")
    server = f"""if True:
        import sys, kernels
        from pathlib import Path
        with kernels.started(Path({str(kernel)!r})) as running:
            assert running.run("1").error is not None
            print(*Path(f"/proc/{{running.pid}}/cmdline").read_text().split("\\0")[:2], sep="\\n")
    """
    done = subprocess.run(  # of its own: how a process was started is read, and workers change that
        [sys.executable, "-c", server],
        capture_output=True, text=True, check=True, timeout=120,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    )  # fmt: skip
    first, second = done.stdout.splitlines()[-2:]
    assert first == sys.executable
    assert second.endswith("/diagnose.py")


def test_without_any_python_that_could_tell_the_start_fails_with_a_line(tmp_path):
    kernel = broken(tmp_path, creator="/nowhere/python")
    hide = 'mount --bind /dev/null "$(readlink -f /usr/bin/python3)"; exec "$@"'
    done = subprocess.run(
        ["unshare", "-U", "-r", "-m", "sh", "-c", hide, "sh", kernel / "setup.sh", "-f", tmp_path / "kernel.json"],
        capture_output=True, text=True, check=False, timeout=60, env={"PATH": os.defpath, "HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 1
    assert "no python with ipykernel is left" in done.stderr
