"""Kernels in real images, from start to end: interrupts, restarts, killed servers, and what is said on failure."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import images
import kernels
import ordinary
import pytest
from boxes import boxed, inside, shell

FLAGS = ("contain", "cleanenv", "pid", "userns")
COUNTS = """
import time
count = 0
try:
    print("begun", flush=True)
    time.sleep(20)
except KeyboardInterrupt:
    count += 1
    try:
        time.sleep(0.25)
    except KeyboardInterrupt:
        count += 1
print("interrupts:", count)
"""
SERVER = """
import sys, time
sys.path.insert(0, {tests!r})
import kernels
from pathlib import Path
kernel = kernels.Started(Path({made!r}))
kernel.ready()
print(kernel.pid, flush=True)
time.sleep(60)
"""


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Stand in a folder for kernels, with a home of the test's own."""
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def works(kernel):
    kernel.ready()
    outcome = kernel.run("import os, sys; print(6 * 7, os.getcwd(), sys.executable)")
    assert outcome.error is None
    return outcome.text.split()


def restart(kernel, **how):
    """Restart it, and talk to it as to a new one: answers of the old one, still queued, would be taken for its own."""
    kernel.client.stop_channels()
    kernel.manager.restart_kernel(**how)
    kernel.client = kernel.manager.client()
    kernel.client.start_channels()


def interrupt(kernel):
    """Interrupt a cell; return how often it felt that."""
    time.sleep(0.2)
    kernel.send(COUNTS)
    while "begun" not in (message := kernel.client.get_iopub_msg(timeout=30))["content"].get("text", ""):
        assert message["msg_type"] in {"status", "execute_input"}
    time.sleep(0.2)  # an interrupt amid the sending of what was printed may be swallowed there, in any kernel
    kernel.manager.interrupt_kernel()
    return kernel.collect(15).text.strip()


@pytest.mark.parametrize(
    ("image", "flags"), [("kernel", ()), ("kernel.sif", FLAGS), slow("kernel", FLAGS), slow("kernel.sif", ())]
)
def test_a_kernel_lives_and_ends(folder, image, flags):
    made = boxed(folder, image, flags=flags)
    with kernels.started(made, cwd=folder) as kernel:
        assert works(kernel) == ["42", str(folder), "/usr/bin/python3"]
        assert [interrupt(kernel) for _ in range(3)] == ["interrupts: 1"] * 3
        restart(kernel)
        assert works(kernel)[0] == "42"
        pid = kernel.pid
        begun = time.monotonic()
        kernel.manager.shutdown_kernel()
        assert time.monotonic() - begun < 5
        assert kernels.gone(pid, 3)


@pytest.mark.parametrize("flag", ["contain", "cleanenv", "pid", "userns", "nv", "rocm"])
def test_each_flag_works(folder, flag):
    code = "import os, ipykernel; print(os.getcwd())"
    done = kernels.ask(boxed(folder, flags=(flag,)), "--python", "-c", code, cwd=folder)
    assert (done.returncode, done.stdout) == (0, f"{folder}\n"), done.stderr


@pytest.mark.parametrize(
    ("image", "version"), [("ipykernel-5", "5.5.6"), slow("ipykernel-6.0", "6.0.3"), ("ipykernel-6.2", "6.2.0")]
)
@pytest.mark.parametrize("flags", [(), slow(("pid",))])
def test_old_ipykernels_are_interrupted_once(folder, image, version, flags):
    made = boxed(folder, image, ipykernel=version, flags=flags)
    with kernels.started(made) as kernel:
        assert works(kernel)[0] == "42"
        assert [interrupt(kernel) for _ in range(4)] == ["interrupts: 1"] * 4


@pytest.mark.parametrize(
    ("image", "flags", "victim"),
    [
        ("kernel", (), "server"), ("kernel", (), "wrapper"),
        ("kernel.sif", ("pid",), "server"), ("kernel.sif", (), "group"),
        slow("kernel", (), "group"), slow("kernel", FLAGS, "server"), slow("kernel", ("pid",), "wrapper"),
        slow("kernel.sif", FLAGS, "server"), slow("kernel.sif", FLAGS, "wrapper"),
        slow("kernel.sif", ("pid",), "group"),
    ],
)  # fmt: skip
def test_nothing_is_left_of_what_is_killed(folder, image, flags, victim):
    made = boxed(folder, image, flags=flags)
    code = SERVER.format(tests=str(Path(__file__).parent), made=str(made))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as server:
        try:
            pid = int(server.stdout.readline())
            session = members(pid)
            assert len(session) >= 3
            if victim == "server":
                server.kill()
            elif victim == "wrapper":
                os.kill(pid, signal.SIGKILL)
            else:
                os.killpg(pid, signal.SIGKILL)
            deadline = time.monotonic() + 4
            while (left := members(pid)) and time.monotonic() < deadline:
                time.sleep(0.05)
        finally:
            server.kill()
    assert left == {}


def members(session: int) -> dict[int, str]:
    """Return the living processes of a session."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, leader = (entry / "stat").read_text().rpartition(") ")[2].split()[:4]
            if int(leader) == session and state not in "ZX":
                found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
    return found


def test_a_setup_inside_the_image(folder):
    script = folder / "setup.sh"
    script.write_text("echo noise\nexport FROM_SETUP=$(id -u)\nfunction mine { echo mine; }\nexport -f mine\n")
    made = boxed(folder, sources=(str(script),), settings=(("LAST", "$x"),), clean=True)
    assert shell(made, 'echo "$FROM_SETUP $LAST"') == f"{os.getuid()} $x"
    with kernels.started(made, cwd=folder) as kernel:
        assert works(kernel) == ["42", str(folder), "/usr/bin/python3"]
        assert kernel.run("print(os.environ['FROM_SETUP'], os.environ['LAST'])").text == f"{os.getuid()} $x\n"
        assert (
            kernel.run("import subprocess as s; print(s.check_output(['bash', '-c', 'mine']))").text == "b'mine\\n'\n"
        )
        assert interrupt(kernel) == "interrupts: 1"


def test_the_images_own_variables_outlive_a_setup(folder):
    script = folder / "setup.sh"
    script.write_text("export FROM_SETUP=1\n")
    found, _ = inside(boxed(folder, "env", sources=(str(script),)))
    assert found["PYTHONPATH"] == images.ENVIRONMENT["PYTHONPATH"]
    assert found["FROM_SETUP"] == "1"


def test_hooks_are_sourced_when_they_are_there(folder):
    hook = folder / "hook.sh"
    made = boxed(folder, hooks=(str(hook),), flags=("contain",))
    assert shell(made, 'echo "hooked: $HOOK"', cwd="/") == "hooked:"
    hook.write_text("export HOOK=yes\n")
    assert shell(made, 'echo "hooked: $HOOK"', cwd="/") == "hooked: yes"


def test_python_by_variables_of_the_image(folder):
    made = boxed(folder, "env", python="${IMAGE_SETS:+/usr/bin}/python3")
    assert made.joinpath("setup.sh").exists()
    found = boxed(folder, "env", python="$TRICKYLESS/usr/bin/python3")
    assert kernels.ask(found, "--python", "-c", "print(1)").stdout == "1\n"


def test_unix_sockets_instead_of_ports(folder):
    manager = kernels.manager(boxed(folder, flags=FLAGS))
    manager.transport, manager.connection_file = "ipc", str(folder / "kernel.json")
    manager.start_kernel(stderr=subprocess.DEVNULL)
    try:
        client = manager.client()
        client.start_channels()
        client.wait_for_ready(timeout=60)
        said = []
        client.execute_interactive("print(6 * 7)", output_hook=said.append, timeout=30)
        client.stop_channels()
    finally:
        manager.shutdown_kernel(now=True)
    assert [message["content"]["text"] for message in said if message["msg_type"] == "stream"] == ["42\n"]


def test_exit_statuses_and_streams_pass(folder):
    made = boxed(folder, "bare")
    done = kernels.ask(made, "--run", "sh", "-c", "cat; echo e >&2; exit 7", input="in")
    assert (done.returncode, done.stdout, done.stderr) == (7, "in", "e\n")
    assert kernels.ask(made, "--run", "sh", "-c", "exit 255").returncode == 255
    assert kernels.ask(made, "--run", "sh", "-c", "exit 97").returncode == 97
    assert kernels.ask(made, "--run", "sh", "-c", "kill -KILL $$").returncode == 137
    assert "nonesuch" in kernels.ask(made, "--run", "nonesuch").stderr


def told(made, **more):
    """Start a kernel that cannot work; return what its first cell says."""
    with kernels.started(made, **more) as kernel:
        outcome = kernel.run("1 + 1")
        assert outcome.error is not None, outcome.text
        return outcome.error[2]


def test_an_image_without_python_or_ipykernel_is_told(folder):
    assert "/empty has no python3" in told(boxed(folder, "empty", name="a"))
    assert "cannot import ipykernel" in told(boxed(folder, "bare", name="b"))
    script = folder / "setup.sh"
    script.write_text("echo the last words; exit 3")
    text = told(boxed(folder, "kernel", name="c", sources=(str(script),)))
    assert "the set-up ended early, with exit status 3" in text
    assert "the last words" in text


def test_a_missing_image_or_runtime_is_told(folder):
    image = folder / "image"
    image.symlink_to(images.image("kernel"))
    made = boxed(folder, image, name="a")
    assert kernels.ask(made, "--run", "true").returncode == 0
    image.unlink()
    assert f"the image {image} is not there any more" in told(made)
    image.write_text("no image")
    assert "cannot start the image" in told(made)
    env = {"PATH": "/usr/bin:/bin", "HTCMAGIC_PROGRAMS": str(folder / "none"), "HTCMAGIC_APPTAINER": ""}
    text = told(boxed(folder, name="b", runtime="/nowhere/apptainer"), env=env)
    assert "neither apptainer nor singularity is on this machine" in text
    assert "htc-pool install --with apptainer" in text


def test_the_runtime_is_found_again(folder):
    links = folder / "bin"
    links.mkdir()
    (links / "singularity").write_text(f'#!/bin/sh\nexec "{images.apptainer()}" "$@"\n')
    (links / "singularity").chmod(0o755)
    (links / "apptainer").write_text("#!/bin/sh\nexit 1\n")
    (links / "apptainer").chmod(0o755)
    made = boxed(folder, "bare", runtime="/nowhere/apptainer")
    env = {
        **os.environ,
        "PATH": f"{links}:/usr/bin:/bin",
        "HTCMAGIC_PROGRAMS": str(folder / "none"),
        "HTCMAGIC_APPTAINER": "",
    }
    assert kernels.ask(made, "--python", "-c", "print(1)", env=env).stdout == "1\n"


def test_a_machine_without_user_namespaces_is_told(folder):
    made = boxed(folder, "bare", flags=("userns",))
    forbid = 'echo 0 >/proc/sys/user/max_user_namespaces && exec "$@"'
    words = [
        "unshare",
        "--user",
        "--map-root-user",
        "sh",
        "-c",
        forbid,
        "sh",
        str(made / "setup.sh"),
        "--python",
        "-c",
        "1",
    ]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 97, done.stderr
    assert "this machine allows no user namespaces" in done.stderr


def test_a_kernel_that_exits_as_we_do_is_no_failed_start(folder):
    with kernels.started(boxed(folder)) as kernel:
        for status in (97, 255):
            kernel.send(f"import os; os._exit({status})")
            deadline = time.monotonic() + 20
            while kernel.manager.provisioner.process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.05)
            assert kernel.manager.provisioner.process.poll() == status
            restart(kernel, now=True)
            kernel.ready()


@pytest.mark.slow
def test_all_of_it_as_an_ordinary_user():
    who = ordinary.anybody()
    program = images.apptainer()
    images.folder()
    which = os.environ.get("WHICH") or "lives or killed or old or told or setup"
    ids = [f"--reuid={who.pw_uid}", f"--regid={who.pw_gid}", "--clear-groups", "--no-new-privs"]
    with ordinary.home_of(who) as home:
        env = {
            "HOME": str(home),
            "USER": who.pw_name,
            "PATH": os.defpath,
            "LANG": "C.UTF-8",
            "HTCMAGIC_APPTAINER": str(program),
        }
        env["HTCMAGIC_PROGRAMS"] = str(program.parents[3])
        prefix = [*ordinary.uncovered(program.parents[2]), "env", "--chdir=/", "setpriv", *ids, "env", "-i"]
        words = ["-q", "-p", "no:cacheprovider", "--basetemp", f"{home}/t", "-k", which, str(Path(__file__))]
        command = [*prefix, *(f"{name}={value}" for name, value in env.items()), sys.executable, "-m", "pytest", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stdout[-12000:]
    assert " passed" in done.stdout
