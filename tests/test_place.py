"""Where a job's Python comes from: the notebook's, an image, a stack, a kernel's set-up, packages that go along."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import venv
from pathlib import Path

import images
import pytest
from conftest import Kernel
from pools import at_home

from htcmagic.errors import CellError, ContainerError, StackError
from htcmagic.functions import place, shipping
from htcmagic.kernels import kernelspec
from htcmagic.kernels.recipe import Container, Recipe
from htcmagic.kernels.stack import Stack

SHOW = "import os, sys\n(sys.executable, os.environ.get('STACK_VERSION'), os.environ.get('APPTAINER_CONTAINER', ''))\n"
SETUP = "export STACK_VERSION=v7\nset -- spoilt\nIFS=/\ncd /\n"


def value(kernel, expression, timeout=120):
    outcome = kernel.run(f"print(json.dumps({expression}))", timeout)
    assert outcome.error is None, outcome.error[2]
    return json.loads(outcome.text)


def given(kernel, options, cell=SHOW):
    """Return what a cell gives in a job."""
    sent = kernel.run(f"%%condor_python -o c {options}\n{cell}")
    assert sent.error is None, sent.error[2]
    return value(kernel, "c[0].result(120)")


# Words for what a job asks for.


def test_short_words_are_submit_commands():
    assert place.resources(memory="2GB", cpus=2, disk=None, gpus=1) == {
        "request_memory": "2GB",
        "request_cpus": "2",
        "request_gpus": "1",
    }
    assert place.resources(Requirements="x && y", run_as_owner=True, My_Group="a", request_scratch=3) == {
        "requirements": "x && y",
        "run_as_owner": "true",
        "My.Group": "a",
        "request_scratch": "3",
    }
    assert place.resources(**{"+Group": '"a"'}) == {"+Group": '"a"'}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("memry", "memry is no submit command.\nDid you mean memory?"),
        ("request_memry", "Did you mean request_memory?"),
        ("colour", "colour is no submit command.\nFor example: memory=2GB"),
        ("executable", "executable: that is how Python work itself is done."),
        ("transfer_output_files", "that is how Python work itself is done"),
    ],
)
def test_an_unknown_command_is_refused_with_the_near_one(name, said):
    with pytest.raises(CellError) as caught:
        place.resources(**{name: 1})
    assert said in str(caught.value)


def test_defaults_are_kept_changed_and_taken_away():
    try:
        assert place.set_defaults({"memory": "2GB", "cpus": 2}) == {"request_memory": "2GB", "request_cpus": "2"}
        assert place.set_defaults({"request_memory": "", "disk": "1GB"}) == {
            "request_cpus": "2",
            "request_disk": "1GB",
        }
        place.defaults()["request_cpus"] = "9"
        assert place.defaults()["request_cpus"] == "2"
        assert place.set_defaults({"gpus": 1}, anew=True) == {"request_gpus": "1"}
    finally:
        assert place.set_defaults({}, anew=True) == {}


def test_the_notebooks_own_python_unless_something_is_named(monkeypatch):
    for name in (*place.INSIDE, "HTCMAGIC_KERNEL_DIR"):
        monkeypatch.delenv(name, raising=False)
    assert place.place() == place.Place(sys.executable, None, "the notebook's own Python", None)
    assert place.place(kernel="none").python == sys.executable
    assert place.place("/opt/it's/python").shell() == "htc_python='/opt/it'\"'\"'s/python'"
    image = place.place(container="docker://python:3.11")
    assert image.environment.container_image == "docker://python:3.11"
    assert image.command() == "python3"
    with pytest.raises(CellError, match="--container and --stack both say"):
        place.place(container="docker://x", stack="lcg")
    with pytest.raises(ContainerError, match=r"There is no image nothing\.sif"):
        place.place(container="nothing.sif")
    with pytest.raises(StackError, match="There is no stack 'lgc'"):
        place.place(stack="lgc")


def test_in_an_image_jobs_use_that_image(monkeypatch):
    monkeypatch.delenv("HTCMAGIC_KERNEL_DIR", raising=False)
    monkeypatch.setenv("APPTAINER_CONTAINER", "/data/some.sif")
    here = place.place()
    assert here.environment.container_image == "/data/some.sif"
    assert here.command() == sys.executable
    assert place.place(kernel="none").environment is None


# Packages that go along.


@pytest.fixture
def packages(tmp_path):
    """Make a folder of packages as an environment has it: a package, a module, a link to a source tree."""
    source, folder = tmp_path / "source", tmp_path / "site-packages"
    (source / "linked").mkdir(parents=True)
    (source / "linked/__init__.py").write_text("WHERE = 'linked'")
    (source / ".git").mkdir()
    (source / ".git/config").write_text("")
    (folder / "tiny/data").mkdir(parents=True)
    (folder / "tiny/__init__.py").write_text("VERSION = 1")
    (folder / "tiny/data/table.txt").write_text("1 2 3")
    (folder / "tiny/again").symlink_to(folder / "tiny")
    (folder / "alone.py").write_text("")
    (folder / "gone.py").symlink_to(folder / "nowhere")
    (folder / "link.pth").write_text(f"import sys\n{source}\n")
    return folder


def test_packages_are_packed_once_and_again_when_they_change(packages):
    first = shipping.archive(folders=[packages])
    with tarfile.open(first) as packed:
        assert packed.getnames() == ["alone.py", "linked/__init__.py", "tiny/__init__.py", "tiny/data/table.txt"]
    born = first.stat().st_ino
    assert shipping.archive(folders=[packages]) == first
    assert first.stat().st_ino == born, "it was packed twice"
    (packages / "tiny/__init__.py").write_text("VERSION = 22")
    second = shipping.archive(folders=[packages])
    assert second != first
    os.utime(first, (0, 0))
    shipping.archive(folders=[packages])
    assert not first.exists()
    assert second.exists()


def test_this_environments_own_packages_are_found():
    assert any((folder / "cloudpickle").is_dir() for folder in shipping.packages())
    assert all("site-packages" in str(folder) or "dist-packages" in str(folder) for folder in shipping.packages())


ALONE = """\
import sys
from IPython.core.interactiveshell import InteractiveShell
ip = InteractiveShell.instance()
ip.run_line_magic("load_ext", "htcmagic")
ip.run_cell("%%condor_python -o c --ship-env environment=PATH=" + sys.argv[1] + "\\n"
            "import tiny, sys\\n(tiny.VERSION, tiny.__file__, sys.executable)")
try:
    print(*ip.user_ns["c"][0].result(60), sep="\\n")
except Exception as error:
    print(type(error).__name__, error, sep="\\n")
"""


@pytest.fixture
def small(tmp_path):
    """Make an environment with one package; htcmagic is lent to it, and does not count as its own."""
    home = tmp_path / "env"
    venv.create(home, symlinks=True)
    (tiny,) = home.glob("lib/python3*/site-packages")
    (tiny / "tiny.py").write_text("VERSION = 7")
    lent = [path for path in sys.path if "site-packages" in path] + [str(Path(shipping.__file__).parents[2])]

    def run(path):
        words = [str(home / "bin/python"), "-c", ALONE, str(path)]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(lent)}
        done = subprocess.run(words, env=env, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return run


def test_a_python_of_the_worker_gets_the_environments_packages(pool, small, tmp_path):
    programs = tmp_path / "bin"
    programs.mkdir()
    name = f"python3.{sys.version_info[1]}"
    (programs / name).symlink_to(Path(sys.executable).resolve())
    version, file, python = small(f"{programs}:/usr/bin:/bin")[-3:]
    assert version == "7"
    assert file.endswith("/htcmagic-packages/tiny.py")
    assert "execute" in file
    assert python == str(programs / name)


def test_without_the_right_python_on_the_worker_both_are_named(pool, small, tmp_path):
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("hostname", "tar", "mkdir", "mktemp", "chmod", "cat", "env", "bash"):
        (programs / name).symlink_to(f"/bin/{name}" if Path(f"/bin/{name}").exists() else f"/usr/bin/{name}")
    kind, said, hint = small(programs)[-3:]
    assert kind == "PythonMismatch"
    assert f"there is no Python 3.{sys.version_info[1]} on" in said
    assert "--container IMAGE" in hint


def test_another_python_is_told_before_anything_is_unpickled(kernel, tmp_path):
    """A Python that reports another version: there is no second one to count on."""
    other = tmp_path / "python"
    code = "import runpy, sys; sys.version_info = (3, 9, 2); sys.argv = sys.argv[1:]; "
    other.write_text(
        f'#!/bin/sh\nexec {sys.executable} -c \'{code}runpy.run_path(sys.argv[0], run_name="__main__")\' "$@"\n'
    )
    other.chmod(0o755)
    kernel.run("class Bomb:\n    def __reduce__(self): return (print, ('unpickled',))\nbomb = Bomb()")
    kernel.run(f"%%condor_python -o c --python {other}\nbomb")
    error = kernel.run("c[0].result(60)", 90).error
    assert error[0] == "PythonMismatch"
    assert f"the worker has Python 3.9 ({sys.executable}), the notebook 3.{sys.version_info[1]}" in error[1]
    assert len(error[2].splitlines()) == 2
    assert "unpickled" not in kernel.run("print(c.stdout())").text


def test_an_interpreter_that_is_not_there(kernel):
    kernel.run("%%condor_python -o c --python /no/python3.11\n1")
    error = kernel.run("c[0].result(60)", 90).error
    assert error[0] == "PythonMismatch"
    assert "there is no /no/python3.11 on" in error[1]


# A kernel's set-up, and a stack without a kernel.


@pytest.fixture
def stacks(kernel, tmp_path, monkeypatch):
    """Put a folder on Jupyter's path, with a stack called demo and a kernel called stacked."""
    folder = tmp_path / "it's a jupyter"
    stack = folder / "htcmagic/kernelspecs/demo"
    stack.mkdir(parents=True)
    (stack / "stack.toml").write_text(
        'title = "Demo"\nmarkers = ["STACK_VERSION"]\npython = "stackpython"\n[options.release]\ndefault = "r1"\n'
    )
    tool = folder / "bin"
    tool.mkdir()
    (tool / "stackpython").symlink_to(Path(sys.executable).resolve())
    (stack / "setup.sh").write_text(f'export STACK_VERSION="demo $htc_release"\nPATH={str(tool)!r}:$PATH\n')
    source = folder / "source.sh"
    source.write_text(SETUP)
    made = Recipe(name="stacked", title="s", creator=sys.executable, python=sys.executable, sources=(str(source),))
    where = folder / "kernels/stacked"
    where.mkdir(parents=True)
    for file, content in kernelspec.contents(made, None, None, "htc-kernel create").items():
        (where / file).write_bytes(content)
    (where / "setup.sh").chmod(0o755)
    kernel.run(f"import json, os; os.environ['JUPYTER_PATH'] = {str(folder)!r}")
    kernel.tool = str(tool / "stackpython")
    return kernel


def test_a_cell_runs_in_the_set_up_of_a_kernel(stacks):
    assert given(stacks, "--kernel stacked") == [sys.executable, "v7", ""]
    assert "kernel stacked" in value(stacks, "repr(c)")
    assert given(stacks, "--kernel stacked should_transfer_files=YES") == [sys.executable, "v7", ""]
    assert given(stacks, "--kernel none") == [sys.executable, None, ""]


def test_a_cell_runs_in_a_stack_without_a_kernel(stacks):
    assert given(stacks, "--stack demo") == [stacks.tool, "demo r1", ""]
    assert "stack demo" in value(stacks, "repr(c)")
    assert given(stacks, "--stack demo:r2 should_transfer_files=YES") == [stacks.tool, "demo r2", ""]


def test_a_set_up_that_fails_is_the_cells_error(stacks, tmp_path):
    (tmp_path / "it's a jupyter/htcmagic/kernelspecs/demo/setup.sh").write_text("echo 'no such release' >&2; exit 3\n")
    stacks.run("%%condor_python -o c --stack demo\n1")
    error = stacks.run("c[0].result(60)", 90).error
    assert error[0] == "JobFailed"
    assert "did not start: " in error[1]
    assert "the set-up ended early" in error[1]
    assert len(error[2].splitlines()) == 2


# Images.


@pytest.fixture(scope="module")
def notebook(tmp_path_factory):
    """Start a kernel whose personal pool has Apptainer, with a folder of kernels on Jupyter's path."""
    images.apptainer()
    folder = tmp_path_factory.mktemp("notebook")
    with at_home(tmp_path_factory.mktemp("home")):
        started = Kernel(folder)
        try:
            started.run(f"import json, os; os.environ['JUPYTER_PATH'] = {str(folder)!r}")
            assert started.run("%load_ext htcmagic").error is None
            started.folder = folder
            yield started
        finally:
            started.stop()


@pytest.mark.slow
def test_a_cell_runs_in_an_image(notebook):
    image = images.image("kernel")
    notebook.run("factor = 6\ndef times(x): return factor * x\nvalues = [1, 7]")
    cell = "print('in', item)\nimport os, sys\n(times(item), sys.executable, os.environ['APPTAINER_CONTAINER'])"
    sent = notebook.run(f"%%condor_python -o c --over values --container {image}\n{cell}")
    assert sent.error is None, sent.error[2]
    found = value(notebook, "c.results(120)")
    assert [one[:2] for one in found] == [[6, "/usr/bin/python3"], [42, "/usr/bin/python3"]]
    assert found[0][2].endswith("/kernel")
    assert value(notebook, "c.stdout(1)") == "in 7\n"
    raised = notebook.run(f"%%condor_python --wait --container {image}\nx = 1\nx / 0").error
    assert raised[0] == "ZeroDivisionError"
    assert "line 2" in raised[2]


@pytest.mark.slow
def test_a_cell_runs_in_the_image_of_a_kernel(notebook):
    image = str(images.image("kernel"))
    box = Container(image, image, str(images.apptainer()))
    made = Recipe(name="boxed", title="b", creator=sys.executable, container=box, settings=(("STACK_VERSION", "$x"),))
    folder = Path(notebook.folder) / "kernels/boxed"
    folder.mkdir(parents=True)
    for file, content in kernelspec.contents(made, None, None, "htc-kernel create").items():
        (folder / file).write_bytes(content)
    (folder / "setup.sh").chmod(0o755)
    python, version, container = given(notebook, "--kernel boxed")
    assert (python, version) == ("/usr/bin/python3", "$x")
    assert container.endswith("/kernel")


@pytest.mark.slow
def test_a_stack_is_set_up_inside_the_image(notebook):
    image = str(images.image("kernel"))
    setup = 'export STACK_VERSION="v8 in $(. /etc/os-release; echo $ID)"\n'
    stack = Stack("inner", "Inner", Path("/nowhere"), kind="container", markers=("STACK_VERSION",), setup=setup)
    box = Container(image, image, str(images.apptainer()))
    made = Recipe(name="inner", title="i", creator=sys.executable, container=box, stack="inner")
    folder = Path(notebook.folder) / "kernels/inner"
    folder.mkdir(parents=True)
    for file, content in kernelspec.contents(made, stack, None, "htc-kernel create").items():
        (folder / file).write_bytes(content)
    (folder / "setup.sh").chmod(0o755)
    python, version, container = given(notebook, "--kernel inner")
    assert (python, version) == ("/usr/bin/python3", "v8 in debian")
    assert container.endswith("/kernel")


@pytest.mark.slow
def test_an_image_without_python_says_so(notebook):
    notebook.run(f"%%condor_python -o c --container {images.image('empty')}\n1")
    error = notebook.run("c[0].result(120)", 150).error
    assert error[0] == "PythonMismatch"
    assert "there is no python3 on" in error[1]
