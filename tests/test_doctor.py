"""htc-kernel doctor: everything known to break kernels, each broken for real; and kernels whose server is gone."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import images
import ordinary
import pytest
from foreign import IPYKERNEL, Kernels, own_kernels, related, run, serve, until
from jupyter_client import BlockingKernelClient

from htcmagic.errors import KernelError
from htcmagic.kernels import create, doctor, kernelspec, orphans, processes

CONTAINED = ["apptainer", "exec", "IMAGE", "python3", "-m", "ipykernel_launcher", "-f", "{connection_file}"]


@pytest.fixture
def kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernels]:
    with own_kernels(tmp_path, monkeypatch) as made:
        yield made


def found(*names: str) -> list[str]:
    """Return which tests found something."""
    return sorted({one.check for one in doctor.examine(names)})


def test_a_sound_kernel_and_a_sound_machine_have_nothing(kernels: Kernels):
    kernels.add("good")
    kernels.wrapped("wrapped", '#!/bin/bash\nargs=("$@")\nset --\nexec PYTHON -m ipykernel_launcher "${args[@]}"\n')
    done = run("doctor", "good", "wrapped")
    assert done.returncode == 0, done.stdout
    assert done.stdout == "2 kernels looked at: nothing found.\n"


@pytest.mark.parametrize(
    ("more", "wanted"),
    [
        ({"remote_ikernel_argv": []}, ["unknown-key"]),
        ({"display_name": ""}, ["missing-key"]),
        ({"env": ["A"]}, ["type"]),
        ({"interrupt_mode": "loud"}, ["interrupt_mode"]),
        ({"env": {"A": 1}}, ["env-type"]),
        ({"env": {"A": "a$$b"}}, ["env-dollar"]),
        ({"env": {"A": "${NO_SUCH_VARIABLE_HERE}/x"}}, ["env-dollar"]),
        ({"env": {"A": "$HOME/x"}}, []),
        ({"env": {"MY_TOKEN": "abc"}}, ["secret"]),
        ({"env": {"KRB5CCNAME": "FILE:/tmp/krb5cc_1"}}, ["secret"]),
        ({"metadata": {"kernel_provisioner": {"provisioner_name": "no-such-thing"}}}, ["provisioner"]),
        ({"metadata": {"kernel_provisioner": {"provisioner_name": "local-provisioner"}}}, []),
        ({"env": {"APPTAINERENV_a-b": "1"}}, ["container-env"]),
        ({"env": {"APPTAINERENV_A": "$(id)"}}, ["container-env", "env-dollar"]),
        ({"env": {"APPTAINERENV_A": "1", "SINGULARITYENV_A": "2"}}, ["container-env"]),
        ({"argv": [sys.executable, "-m", "ipykernel_launcher"]}, ["argv"]),
        ({"argv": "python"}, ["argv"]),
        ({"argv": ["/no/such/python", "-f", "{connection_file}"]}, ["missing"]),
        ({"argv": ["no-such-program", "-f", "{connection_file}"]}, ["missing"]),
        ({"argv": ["bin/python", "-f", "{connection_file}"]}, ["relative"]),
        ({"argv": ["/etc/passwd", "-f", "{connection_file}"]}, ["not-executable"]),
        ({"argv": ["bash", "/no/such/go.sh", "-f", "{connection_file}"]}, ["missing"]),
        ({"argv": ["python3", *IPYKERNEL[1:]]}, ["replaced"]),
        ({"argv": ["python3", *IPYKERNEL[1:]], "env": {"PATH": "/opt/stack/bin"}}, ["replaced"]),
    ],
)
def test_what_kernel_json_has_wrong(kernels: Kernels, more: dict[str, object], wanted: list[str]):
    kernels.add("odd", **({"argv": IPYKERNEL} | more))
    assert found("odd") == wanted


def test_kernel_json_that_cannot_be_read(kernels: Kernels):
    (kernels.add("odd") / "kernel.json").write_text("{argv: [")
    assert found("odd") == ["json"]


@pytest.mark.parametrize(
    ("script", "wanted"),
    [
        ('#!/bin/bash\nPYTHON -m ipykernel_launcher "$@"\n', ["no-exec"]),
        ('#!/bin/bash\nif true; then\n  exec PYTHON -m ipykernel_launcher "$@"\nfi\n', []),
        ("#!/bin/bash\nexec PYTHON -m ipykernel_launcher $@\n", ["unquoted"]),
        ('#!/bin/bash\nexec PYTHON \\\n  -m ipykernel_launcher "$@"\n', []),
        ('#!/bin/bash\nsource ./setup-stack.sh\nexec PYTHON -m ipykernel_launcher "$@"\n', ["leak"]),
        ('#!/bin/bash\na=("$@")\nset --\nsource ./setup-stack.sh\nexec PYTHON -m ipykernel_launcher "${a[@]}"\n', []),
        ('#!/bin/bash\nset -eu\nsource ~/x.sh ""\nexec PYTHON -m ipykernel_launcher "$@"\n', []),
        ('#!/bin/bash\nset -eu\nsource x.sh;\nexec PYTHON -m ipykernel_launcher "$@"\n', ["leak", "options"]),
        ('#!/no/such/shell\nexec PYTHON -m ipykernel_launcher "$@"\n', ["interpreter"]),
        ('#!/bin/bash\r\nexec PYTHON -m ipykernel_launcher "$@"\r\n', ["interpreter"]),
        ("#!/bin/bash\neval $COMMAND $@\n", ["no-exec", "unquoted"]),
    ],
)
def test_what_a_script_has_wrong(kernels: Kernels, script: str, wanted: list[str]):
    kernels.wrapped("odd", script)
    assert found("odd") == wanted


def test_belle_2s_own_kernel(kernels: Kernels, tmp_path: Path):
    tool = tmp_path / "tools" / "b2execute"
    tool.parent.mkdir()
    tool.write_text('#!/bin/bash\neval ${COMMAND} "$@"\n')
    tool.chmod(0o755)
    kernels.add("b2", [str(tool), "-x", "python3", "light-2603-ina", *IPYKERNEL[1:]])
    assert found("b2") == ["b2execute"]


@pytest.mark.parametrize(
    ("words", "more", "wanted"),
    [
        ([], {"interrupt_mode": "message"}, ["container-orphan"]),
        ([], {}, ["container-interrupt", "container-orphan"]),
        (["-c"], {"interrupt_mode": "message"}, ["connection", "container-orphan"]),
        (["-c", "-B", "RUNTIME"], {"interrupt_mode": "message"}, ["container-orphan"]),
        (["-eCB", "RUNTIME"], {"interrupt_mode": "message"}, ["container-orphan"]),
        (["--pid"], {"interrupt_mode": "message"}, ["container-orphan", "container-pid"]),
        (["--pid", "--cleanenv"], {"interrupt_mode": "message"}, ["container-orphan"]),
        (
            ["--pid"],
            {"interrupt_mode": "message", "env": {"APPTAINERENV_JPY_PARENT_PID": ""}},
            ["container-orphan"],
        ),
        (["-B", "/no/such/place:/x"], {"interrupt_mode": "message"}, ["bind", "container-orphan"]),
    ],
)
def test_what_a_container_has_wrong(
    kernels: Kernels, tmp_path: Path, words: list[str], more: dict[str, object], wanted: list[str]
):
    program = tmp_path / "bin" / "apptainer"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    (tmp_path / "runtime").mkdir()
    words = [word.replace("RUNTIME", str(tmp_path / "runtime")) for word in words]
    kernels.add("box", [str(program), "exec", *words, str(tmp_path), *CONTAINED[3:]], **more)
    assert found("box") == wanted


def test_an_image_that_is_gone_and_a_container_in_a_script(kernels: Kernels):
    kernels.wrapped("box", '#!/bin/bash\nexec apptainer exec --pid /no/such/image python3 -m ipykernel_launcher "$@"\n')
    assert found("box") == ["container-pid", "image"]


@pytest.fixture
def old_venv(tmp_path: Path) -> Path:
    """Make an environment whose ipykernel is an old one, as far as its files tell."""
    venv = tmp_path / "venv"
    site = venv / "lib" / "python3.9" / "site-packages"
    (site / "ipykernel").mkdir(parents=True)
    (site / "ipykernel-6.1.0.dist-info").mkdir()
    (venv / "pyvenv.cfg").write_text("include-system-site-packages = false\n")
    (venv / "bin").mkdir()
    (venv / "bin" / "python").symlink_to(sys.executable)
    return venv


def test_what_an_old_ipykernel_cannot_do(kernels: Kernels, old_venv: Path):
    promises = {"debugger": True, "supported_encryption": ["curve"]}
    argv = [str(old_venv / "bin" / "python"), *IPYKERNEL[1:]]
    kernels.add("old", argv, metadata=promises, interrupt_mode="message")
    assert found("old") == ["debugger", "encryption", "interrupts"]


def test_a_python_without_ipykernel(kernels: Kernels):
    kernels.add("bare", [os.path.realpath(sys.executable), "-S", *IPYKERNEL[1:]])
    findings = doctor.examine(["bare"])
    assert [one.check for one in findings] == ["no-ipykernel"]
    assert "No module named" in findings[0].problem


def test_packages_of_the_user_that_stand_before_those_of_the_python(kernels: Kernels, tmp_path: Path):
    real = Path(os.path.realpath(sys.executable))
    base = tmp_path / "userbase"
    asked = [str(real), "-c", "import site; print(site.getusersitepackages())"]
    env = {**os.environ, "PYTHONUSERBASE": str(base)}
    site = Path(subprocess.run(asked, env=env, capture_output=True, text=True, check=True).stdout.strip())
    (site / "traitlets").mkdir(parents=True)
    packages = next(Path(sys.prefix).glob("lib/python3*/site-packages"))
    settings = {"PYTHONUSERBASE": str(base), "PYTHONPATH": str(packages)}
    kernels.add("mixed", [str(real), *IPYKERNEL[1:]], env=settings)
    kernels.add("apart", [str(real), *IPYKERNEL[1:]], env={**settings, "PYTHONNOUSERSITE": "1"})
    assert found("mixed") == ["user-site"]
    assert found("apart") == []


def test_names_and_titles_that_collide(kernels: Kernels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    second = Kernels(tmp_path / "second")
    monkeypatch.setenv("JUPYTER_PATH", f"{kernels.base / 'share'}:{second.base / 'share'}")
    kernels.add("one", display_name="Same")
    kernels.add("two", display_name="Same")
    second.add("one", display_name="Hidden")
    assert found("one") == ["same-title", "shadowed"]
    assert found("two") == ["same-title"]


def test_ours_after_things_have_happened_to_it(kernels: Kernels, tmp_path: Path):
    setup = tmp_path / "setup.sh"
    setup.write_text("export A=1\n")
    made = create.create(kernels=kernels.folder, ask=False, name="mine", source=[str(setup)], python=sys.executable)
    assert found("mine") == []
    with (made.folder / "setup.sh").open("a") as file:
        file.write("# mine\n")
    setup.unlink()
    assert found("mine") == ["edited", "gone"]


def test_ours_of_an_older_version(kernels: Kernels, tmp_path: Path):
    (tmp_path / "s.sh").write_text("")
    made = create.create(kernels=kernels.folder, ask=False, name="mine", source=[str(tmp_path / "s.sh")])
    data = json.loads((made.folder / "kernel.json").read_text())
    data["metadata"]["htcmagic"]["version"] = "0.0.1"
    (made.folder / "kernel.json").write_text(json.dumps(data))
    assert found("mine") == ["edited"]


def test_ours_whose_stack_is_gone_or_not_mounted(kernels: Kernels):
    folder = kernels.stack("toy", "export TOY=1\n")
    create.create(kernels=kernels.folder, ask=False, cvmfs="toy")
    assert found("toy") == []
    (folder / "stack.toml").write_text('title = "Toy"\nrepositories = ["toy.not-mounted.example"]\nsystems = ["el1"]\n')
    assert found("toy") == ["repository", "system"]
    (folder / "stack.toml").unlink()
    assert found("toy") == ["stack"]


def test_a_snapshot_older_than_what_it_came_from(kernels: Kernels, tmp_path: Path):
    setup = tmp_path / "setup.sh"
    setup.write_text("export A=1\n")
    create.create(kernels=kernels.folder, name="kept", source=[str(setup)], python=sys.executable, snapshot=True)
    assert found("kept") == []
    os.utime(setup, (time.time() + 100, time.time() + 100))
    assert found("kept") == ["snapshot"]
    (kept,) = kernelspec.find("kept").snapshots()
    kept.unlink()
    assert found("kept") == ["snapshot"]


def test_the_machine(kernels: Kernels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    stack = tmp_path / "lcg"
    monkeypatch.setenv("ROOTSYS", str(stack))
    monkeypatch.setenv("JUPYTER_PATH", f"{kernels.base / 'share'}:{stack / 'share' / 'jupyter'}")
    (tmp_path / "config").mkdir()
    wanted = {"ServerApp": {"kernel_spec_manager_class": "no_such_package.Manager"}}
    (tmp_path / "config" / "jupyter_server_config.json").write_text(json.dumps(wanted))
    (tmp_path / "config" / "jupyter_notebook_config.py").write_text("c.CondaKernelSpecManager.conda_only = True  # !\n")
    (tmp_path / "runtime").mkdir(mode=0o700)
    (tmp_path / "runtime").chmod(0o777)
    (kernels.folder / ".htcmagic.abc").mkdir()
    os.utime(kernels.folder / ".htcmagic.abc", (1, 1))
    findings = {one.check: one for one in doctor.examine() if not one.kernel}
    assert set(findings) == {"jupyter-path", "manager", "conda-only", "runtime", "litter"}
    assert findings["runtime"].remedy == f"chmod 700 {tmp_path / 'runtime'}"


def test_findings_for_people_and_for_machines(kernels: Kernels):
    kernels.wrapped("odd", '#!/bin/bash\nPYTHON -m ipykernel_launcher "$@"\n')
    done = run("doctor", "odd")
    assert done.returncode == 1
    assert "does not exec python (line 2): the kernel outlives a killed server." in done.stdout
    told = json.loads(run("doctor", "--json", "odd").stdout)
    assert told["ok"] is False
    assert told["findings"][0]["check"] == "no-exec"
    assert told["findings"][0]["kernel"] == "odd"
    assert told["orphans"] == []


def test_unknown_kernels_are_wrong_usage(kernels: Kernels):
    kernels.add("good")
    done = run("doctor", "god")
    assert done.returncode == 2
    assert "Did you mean good?" in done.stderr
    with pytest.raises(KernelError):
        doctor.examine(["god"])


# -- kernels whose server is gone


@pytest.fixture
def orphan(kernels: Kernels, tmp_path: Path) -> tuple[processes.Process, ...]:
    """Start a kernel that stays when its server is killed, and kill that."""
    kernels.wrapped("lonely", '#!/bin/bash\nPYTHON -m ipykernel_launcher "$@"\n')
    server = serve("lonely", tmp_path / "kernel-lonely.json")
    assert [one.kernel for one in orphans.find() if one.kernel == "lonely"] == []  # its server lives
    server.kill()
    server.communicate()
    until(lambda: [one for one in orphans.find() if one.kernel == "lonely"])
    return next(one for one in orphans.find() if one.kernel == "lonely").members


def test_an_orphan_is_listed_and_ended(orphan: tuple[processes.Process, ...], tmp_path: Path):
    until(lambda: len(related("kernel-lonely.json")) == 2)
    done = run("doctor", "lonely", "--json")
    (told,) = json.loads(done.stdout)["orphans"]
    assert told["kernel"] == "lonely"
    assert told["memory_bytes"] > 1_000_000
    assert {one["pid"] for one in told["processes"]} >= {one.pid for one in orphan}
    asked = run("doctor", "lonely", "--end-orphans")
    assert asked.returncode == 1
    assert "--yes" in asked.stderr
    assert all(one.alive for one in orphan)
    shown = run("doctor", "lonely", "--end-orphans", "--yes")
    assert "Kernels whose server is gone" in shown.stdout
    assert "1 ended." in shown.stdout
    assert related("kernel-lonely.json") == []


def test_an_orphan_that_somebody_uses_is_left_alone(orphan: tuple[processes.Process, ...], tmp_path: Path):
    client = BlockingKernelClient(connection_file=str(tmp_path / "kernel-lonely.json"))
    client.load_connection_file()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=30)
        assert [one for one in orphans.find() if one.kernel == "lonely"] == []
    finally:
        client.stop_channels()
    until(lambda: [one for one in orphans.find() if one.kernel == "lonely"])
    assert orphans.end([one for one in orphans.find() if one.kernel == "lonely"]) == []


@pytest.mark.slow
def test_a_container_without_a_server_is_one_of_them(kernels: Kernels, tmp_path: Path):
    words = [str(images.apptainer()), "exec", "-B", str(tmp_path), str(images.image("kernel"))]
    kernels.add("box", [*words, "python3", *IPYKERNEL[1:]])
    server = serve("box", tmp_path / "kernel-box.json")
    until(lambda: related("kernel-box.json"))
    assert [one for one in orphans.find() if one.kernel == "box"] == []
    server.kill()
    server.communicate()
    until(lambda: [one for one in orphans.find() if one.kernel == "box"])
    (left,) = [one for one in orphans.find() if one.kernel == "box"]
    assert any("runtime parent" in " ".join(one.words) for one in left.members)
    assert orphans.end([left]) == []
    assert related("kernel-box.json") == []


KILLED = """
import os, pathlib, signal, subprocess, sys, time
from htcmagic.kernels import orphans, processes

def mounts():
    return [one for one in processes.everything().values() if one.user == os.getuid() and "squashfuse" in one.name]

sif = sys.argv[2:]
box = subprocess.Popen([sys.argv[1], "exec", *sif, "sleep", "60"], start_new_session=True)
live = subprocess.Popen([sys.argv[1], "exec", *sif, "sleep", "60"], start_new_session=True)
while len(mounts()) < 2:
    time.sleep(0.1)
time.sleep(1)
print("before", len(orphans.find()))
os.killpg(box.pid, signal.SIGKILL)
box.wait()
time.sleep(1)
print("after", [[one.name for one in left.members] for left in orphans.find()])
print("stayed", orphans.end(orphans.find()), "live", live.poll(), "mounts", len(mounts()))
os.killpg(live.pid, signal.SIGTERM)
live.wait()
"""


@pytest.mark.slow
def test_the_mount_of_a_killed_container_is_ended_and_that_of_a_live_one_is_not(tmp_path: Path):
    who, runtime = ordinary.anybody(), images.apptainer()
    with ordinary.home_of(who) as home:
        (home / "killed.py").write_text(KILLED)
        shutil.copy(images.image("kernel.sif"), home / "box.sif")
        (home / "box.sif").chmod(0o644)
        ids = [f"--reuid={who.pw_uid}", f"--regid={who.pw_gid}", "--clear-groups", "--no-new-privs"]
        alone = [*ordinary.uncovered(runtime.parents[2]), "env", "--chdir=/", "setpriv", *ids, "env", "-i"]
        words = [f"HOME={home}", "PATH=/usr/bin:/bin", sys.executable, str(home / "killed.py"), str(runtime)]
        done = subprocess.run([*alone, *words, str(home / "box.sif")], capture_output=True, text=True, check=False)
    assert "before 0" in done.stdout, done.stderr
    assert "after [['squashfuse_ll']]" in done.stdout
    assert "stayed [] live None mounts 1" in done.stdout


def test_programs_that_a_dead_kernel_left_are_no_kernels(kernels: Kernels, tmp_path: Path):
    (tmp_path / "settings.json").write_text("{}")
    name = str(tmp_path / "settings.json")
    code = "import time; time.sleep(60)"
    env = {**os.environ, "JPY_PARENT_PID": "4194000"}
    program = f"setsid {sys.executable} -c '{code}' -f {name} & "
    subprocess.run(["bash", "-c", program], env=env, check=True, stdout=subprocess.DEVNULL)
    until(lambda: related(name))
    left = related(name)
    try:
        assert not [one for one in orphans.find() if {member.pid for member in one.members} & {p.pid for p in left}]
    finally:
        processes.end(left)


def test_a_number_that_was_given_anew_is_not_signalled():
    program = subprocess.Popen(["sleep", "60"])
    try:
        seen = processes.look(program.pid)
        assert seen is not None
        other = processes.Process(
            seen.pid, seen.parent, seen.group, seen.session, seen.started_ticks - 1, seen.state, seen.name
        )
        assert not other.alive
        assert not other.signal(signal.SIGKILL)
        time.sleep(0.1)
        assert program.poll() is None
        assert seen.signal(signal.SIGTERM)
        assert program.wait(timeout=10) == -signal.SIGTERM
    finally:
        program.kill()
        program.wait()
