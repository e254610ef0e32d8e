"""``%%condor_script`` in a real kernel on a real pool: items reach the script, and it runs where the kernel runs."""

from __future__ import annotations

import json
import os
import random
import shlex
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Kernel

from htcmagic.errors import CellError
from htcmagic.jobs import script
from htcmagic.jobs.submission import Options
from htcmagic.kernels import kernelspec
from htcmagic.kernels.environment import JobEnvironment
from htcmagic.kernels.recipe import Recipe

PRINTER = f"""\
#!{sys.executable}
import json, os, sys
print(json.dumps([sys.argv[1:], {{name: value for name, value in os.environ.items() if not name.startswith("_")}}]))
"""
HOSTILE = [
    "plain", "a b", " lead", "trail ", "", "-n", "--help", "'", '"', "''", '""', "it's", 'say "so"', "\\", "\\n",
    "a\\", "$HOME", "$(x)", "$(HOME)", "$$", "$", "`id`", "a;b", "#c", "(", ")", "a,b", "a=b", "*", "~", "!x",
    "é ß 漢", "😀", "\t", "a\tb",
    "%d", "${x}", "$(DOLLAR", "$ENV(HOME)", "{x}", "a'b\"c d\\", "$'x'", "queue 3", "\u00a0", "1e-3",
    "a\\'", "~/x", "|", "&", "<>",
]  # fmt: skip
BEYOND = [
    "a\nb", "\n", "a\r", "\x1f", "\x01\x7f", "$$(Arch)", "x$$([1 + 1])y", "$(DOLLAR)", "$(dollar)(x)",
    "$$(DOLLARDOLLAR)",
    "two\n\n'lines' \"and $(more)\\\n", "\udcff\udc80", "plain", "it's", "",
]  # fmt: skip
"""Values that HTCondor itself cannot carry, and some that it can beside them."""


@pytest.fixture(scope="module")
def notebook(pool, tmp_path_factory):
    started = Kernel(tmp_path_factory.mktemp("notebook"))
    assert started.run("%load_ext htcmagic\nimport json, htcmagic").error is None
    yield started
    started.stop()


def value(kernel, expression, timeout=90):
    """Return a value of the kernel's."""
    outcome = kernel.run(f"print(json.dumps({expression}))", timeout)
    assert outcome.error is None, outcome.error[2]
    return json.loads(outcome.text)


def submitted(kernel, cell):
    """Run a submitting cell that gives its cluster the name c, and wait for its jobs."""
    sent = kernel.run(cell)
    assert sent.error is None, sent.error[2]
    assert kernel.run("c.wait(60)", 90).error is None
    return sent


def arrived(kernel, values):
    """Send a job per item, and return arguments and environment of each."""
    kernel.run(f"values = {values!r}")
    submitted(kernel, f"%%condor_script --over values -o c\n{PRINTER}")
    return [json.loads(text) for text in value(kernel, "[job.stdout() for job in c]")]


def test_a_script_runs_in_bash_and_its_output_comes_back(notebook):
    sent = submitted(
        notebook, "%%condor_script --name hello -o c --memory 32MB\necho hello from $JOB_CLUSTER.$JOB_PROC; pwd"
    )
    assert sent.result.startswith("hello (")
    cluster = value(notebook, "c.id")
    folder = value(notebook, "os.getcwd()" if notebook.run("import os").error is None else "")
    assert value(notebook, "c.stdout()") == f"hello from {cluster}.0\n{folder}\n"
    assert value(notebook, "c.stderr()") == ""


def test_columns_become_variables_and_arguments_in_their_order(notebook):
    found = arrived(notebook, [{"mass": 500, "tune": "a b", "x": 0.5}, {"x": 1.0, "tune": "", "mass": 7}])
    assert [words for words, _ in found] == [["500", "a b", "0.5"], ["7", "", "1.0"]]
    assert [(e["mass"], e["tune"], e["x"], e["JOB_PROC"]) for _, e in found] == [
        ("500", "a b", "0.5", "0"),
        ("7", "", "1.0", "1"),
    ]
    assert not {name for _, e in found for name in e if name.startswith(("HTCMAGIC", "htc"))}


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([1, 2], ["item"]),
        ([("a", 1), ("b", 2)], ["item0", "item1"]),
        ([{"Item": 1}, {"Item": 2}], ["Item"]),
    ],
)
def test_items_without_names_get_some(notebook, values, names):
    for (words, env), one in zip(arrived(notebook, values), values, strict=True):
        told = [
            str(part) for part in (one.values() if isinstance(one, dict) else one if isinstance(one, tuple) else [one])
        ]
        assert words == told
        assert [env[name] for name in names] == told


def chunks(values, size):
    return [values[start : start + size] for start in range(0, len(values) - size + 1, size)]


@pytest.mark.parametrize("values", [HOSTILE, BEYOND], ids=["hostile", "beyond"])
def test_any_value_arrives_unchanged(notebook, values):
    assert len(values) % 5 == 0
    items = [{f"v{n}": text for n, text in enumerate(chunk)} | {"input": chunk[0]} for chunk in chunks(values, 5)]
    found = arrived(notebook, items)
    assert [words for words, _ in found] == [list(item.values()) for item in items]
    assert [{name: env[name] for name in items[0]} for _, env in found] == items
    assert value(notebook, "[job.item for job in c]") == items


def test_random_values_arrive_unchanged(notebook):
    chance = random.Random(20261121)  # noqa: S311
    alphabet = ["$", "(", ")", "[", "'", '"', "\\", " ", "\n", "DOLLAR", "x", ",", "é", "#", "=", ";", "\x1f", "`", "%"]
    values = ["".join(chance.choices(alphabet, k=chance.randint(0, 12))) for _ in range(200)]
    found = arrived(notebook, [tuple(chunk) for chunk in chunks(values, 20)])
    assert [text for words, _ in found for text in words] == values
    assert [env[f"item{n}"] for _, env in found for n in range(20)] == values


def test_names_of_submit_commands_are_only_names(notebook):
    """In a description, a column called ``input`` or ``executable`` would be taken for the submit command."""
    columns = [
        "executable",
        "arguments",
        "output",
        "error",
        "log",
        "environment",
        "request_memory",
        "hold",
        "Cmd",
        "year",
    ]
    found = arrived(notebook, [dict.fromkeys(columns, f"/no where/{n}") for n in range(2)])
    assert [words for words, _ in found] == [[f"/no where/{n}"] * len(columns) for n in range(2)]
    assert found[1][1]["executable"] == "/no where/1"


def test_settings_use_columns_as_macros(notebook):
    notebook.run("points = [{'x': 1, 'memory': 21}, {'x': 2, 'memory': 22}]; suffix = 'txt'")
    submitted(
        notebook,
        "%%condor_script --over points -o c request_memory=$(memory) output=made_$(x).$(suffix)$(Process) --count 2 "
        "environment=\"A=<$(x)> B='2 b'\"\n"
        'echo "$A $B $x $memory $JOB_PROC"',
    )
    told = [f"<{n}> 2 b {n} 2{n} {proc}\n" for proc, n in enumerate([1, 1, 2, 2])]
    assert value(notebook, "[job.stdout() for job in c]") == told
    assert value(notebook, "c[0].item") == {"x": "1", "memory": "21"}
    assert value(notebook, "sorted(os.listdir())")[-4:] == ["made_1.txt0", "made_1.txt1", "made_2.txt2", "made_2.txt3"]


def test_arguments_of_the_users_own_win(notebook):
    submitted(notebook, '%%condor_script -o c --count 2 arguments="one \'two\'"\necho "$#: $*"')
    assert value(notebook, "[job.stdout() for job in c]") == ["2: one 'two'\n"] * 2


def test_files_go_along(notebook):
    notebook.run("import pathlib; pathlib.Path('data').mkdir(); pathlib.Path('data/in put.txt').write_text('42')")
    submitted(
        notebook, "%%condor_script -o c --inputs 'data/in put.txt'\ncat 'in put.txt'; echo made > brought_back.txt"
    )
    assert value(notebook, "c.stdout()") == "42"
    assert value(notebook, "pathlib.Path('brought_back.txt').read_text()") == "made\n"


def test_the_script_outlives_the_kernel_and_later_edits(notebook, start_kernel):
    notebook.run("%%condor_script --name kept --hold\necho first edition")
    notebook.run("%%condor_script --name kept2 --hold\necho second edition")
    other = start_kernel()
    other.run("import json, htcmagic; c = htcmagic.cluster('kept'); c.release()")
    other.run("c.wait(60)", 90)
    assert value(other, "c.stdout()") == "first edition\n"
    file = Path(value(other, "str(c.run_dir.path / 'script')"))
    assert file.read_text() == "#!/bin/bash\necho first edition\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o700
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    other.run("htcmagic.cluster('kept2').rm()")


def test_a_dry_run_shows_the_jobs_and_leaves_nothing(notebook):
    before = value(notebook, "len(htcmagic.clusters())")
    notebook.run("points = [{'x': 'a b', 'y': '$(z)'}] * 3")
    shown = notebook.run("%%condor_script --over points --dry-run --cpus 2 --gpus 1 --disk 1GB\necho $x").text
    assert "3 jobs" in shown
    assert "arguments = \"'a b' $(z)\"" in shown or "arguments = \"'a b' '$(z)'\"" in shown
    assert "request_cpus = 2" in shown
    assert "request_gpus = 1" in shown
    assert "request_disk = 1GB" in shown
    assert "htcmagic_" not in shown
    assert "queue x,y from (" in shown
    assert value(notebook, "len(htcmagic.clusters())") == before


def test_how_a_script_ends_is_its_jobs_end(notebook):
    submitted(notebook, "%%condor_script -o c\necho 'it failed' >&2; exit 3")
    assert notebook.run("c[0].result()").error[1] == (
        f"Job {value(notebook, 'c.id')}.0 ended with exit code 3.\nSee what it wrote: .stderr() and .stdout()"
    )
    assert value(notebook, "c.stderr()") == "it failed\n"


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("%%condor_script\n   \n", "there is no script"),
        ("%%condor_script\n\n#!/bin/sh\n", "line 2: the #! line must be the first"),
        ("%%condor_script\n #!/bin/sh\n", "line 1: the #! line must be the first"),
        ("%%condor_script\n#!python3\n", "line 1: #!python3 names no program by its full path"),
        ("%%condor_script executable=/bin/true\nx", "executable: the cell is the job's executable"),
        ("%%condor_script environment=oops\nx", "environment = oops cannot be read"),
        ("%%condor_script --inputs nothing.txt\nx", "the input file nothing.txt does not exist"),
        ("%%condor_script --over bad\nx", "--over bad: PATH cannot be the name of a script's variable"),
        ("%%condor_script --over accent\nx", "--over accent: mé cannot be the name"),
        ("%%condor_script --over nul\nx", "--over nul: item 0, item holds a character that no program can be given"),
        ("%%condor_script --over lone\nx", "--over lone: item 0, item holds a character that no program can be given"),
        ("%%condor_script --over lines output=$(item)\nx", "item 0, item holds a line break"),
        ("%%condor_script --over named output=$(input)\nx", "$(input) in a setting: input is itself a submit command"),
        ("%%condor_script --kernel nowhere\nx", "There is no kernel 'nowhere'"),
        ("%%condor_script --kernel python3\nx", "was not made by htc-kernel"),
        ("%%condor_script request_memory\nx", "request_memory: a setting is written KEY=VALUE"),
        ("%%condor_script --memory 2 GB\nx", "GB: write a size in one word, as 2GB."),
        ("%%condor_script --memry 2GB\nx", "Did you mean --memory?"),
    ],
)
def test_a_slip_is_told_in_two_lines_and_nothing_is_sent(notebook, cell, said):
    notebook.run(
        "bad = [{'PATH': 1}]; accent = [{'mé': 1}]; named = [{'input': 1}]\n"
        "nul = ['a\\0']; lone = ['\\ud800']; lines = ['a\\nb']"
    )
    before = value(notebook, "len(htcmagic.clusters())")
    outcome = notebook.run(cell)
    shown = outcome.text + (outcome.error[2] if outcome.error else "")
    assert said in shown
    assert len(shown.strip().splitlines()) <= 2
    assert value(notebook, "len(htcmagic.clusters())") == before


def test_a_misspelled_setting_is_noticed(notebook):
    shown = notebook.run("%%condor_script request_memry=1GB --dry-run\necho").text
    assert "request_memry is no submit command, and nothing uses it. Did you mean request_memory?" in shown


def test_ten_thousand_items_are_planned_quickly(tmp_path):
    items = [{"x": n, "name": f"point {n}"} for n in range(10_000)]
    job = script.plan("echo", Options(over=items, over_name="items"), None, tmp_path)
    assert len(job.options.over.rows) == 10_000
    assert set(job.files) == {"script"}


IMAGE = JobEnvironment("boxed", container_image="/data/image", container_path="/data/image", variables=(("X", "1"),))


def test_an_image_starts_where_the_job_does(tmp_path):
    far = script.plan("echo", Options(), IMAGE, tmp_path)
    assert "container_image = /data/image" in far.text
    assert "X=1" in far.text
    assert "transfer_container" not in far.text
    assert far.notes == (
        "The image /data/image is copied to each job. Where workers see it, do without: transfer_container=false",
    )
    assert set(far.files) == {"script"}
    near = script.plan("echo", Options(), IMAGE, tmp_path, here=True)
    assert "transfer_container = false" in near.text
    assert near.notes == ()
    assert script.plan("echo", Options(settings={"Transfer_Container": "false"}), IMAGE, tmp_path).notes == ()


@pytest.mark.parametrize("value", ["$x", "`x`", "\\"])
def test_what_an_images_shell_would_evaluate_takes_another_way(tmp_path, value):
    items = script.plan("echo", Options(over=[value], over_name="x"), IMAGE, tmp_path)
    assert set(items.files) == {"script", "job.sh"}
    variables = replace(IMAGE, variables=(("X", value),))
    assert f"export X={shlex.quote(value)}" in script.plan("echo", Options(), variables, tmp_path).files["job.sh"]


def test_the_one_file_of_a_job_is_good_bash(tmp_path):
    wrapper = tmp_path / "setup.sh"
    wrapper.write_text("echo 'a set-up'")
    environment = JobEnvironment("stack", wrapper=wrapper)
    job = script.plan("echo 'END_OF_x'\n\n", Options(over=[{"x": 1}], over_name="x"), environment, tmp_path)
    file = tmp_path / "job.sh"
    file.write_text(job.files["job.sh"].replace("# shellcheck disable=all\n", ""))
    shellcheck = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run([shellcheck, "-e", "SC2016,SC2089,SC2090", file], capture_output=True, text=True, check=False)
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("\"A=1 B='x y' C=it''s D='it''s' E=\"\"q\"\"\"", {"A": "1", "B": "x y", "C": "its", "D": "it's", "E": '"q"'}),
        ("A=1;B=x y;C=", {"A": "1", "B": "x y", "C": ""}),
        ("A=1 B='x y'", {"A": "1", "B": "x y"}),
        ("\"'A=x y' B='$(z)'\"", {"A": "x y", "B": "$(z)"}),
        ('""', {}),
    ],
)
def test_the_users_environment_is_understood_in_both_syntaxes(text, found):
    assert script.read_environment(text) == found


@pytest.mark.parametrize("text", ["oops", '"A=1', '"A=1 B"', '"A=\'1"', "1A=2", "A B=1"])
def test_an_environment_that_is_none_is_refused(text):
    with pytest.raises(CellError):
        script.read_environment(text)


# Where the kernel runs.


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """Give a set-up script as stacks have them, with a tool of its own; its kernels' folder is on Jupyter's path."""
    folder = tmp_path_factory.mktemp("it's a stack")
    tool = folder / "bin/stacktool"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\necho tool of $STACK_VERSION\n")
    tool.chmod(0o755)
    (folder / "setup.sh").write_text(
        'echo "setting up, $# arguments"\nexport STACK_VERSION=v7 mass=spoilt\nset -- spoilt\n'
        f"PATH={str(tool.parent)!r}:$PATH\nIFS=/\ncd /\n"
    )
    (folder / "broken.sh").write_text("echo 'no such release' >&2\nexit 3\n")
    return folder


def install(stack, name, **recipe):
    """Make a kernel as htc-kernel does."""
    made = Recipe(name=name, title=name, creator=sys.executable, python=sys.executable, **recipe)
    kernelspec_folder = stack / "jupyter/kernels" / name
    kernelspec_folder.mkdir(parents=True, exist_ok=True)
    for file, content in kernelspec.contents(made, None, None, "htc-kernel create").items():
        (kernelspec_folder / file).write_bytes(content)
    (kernelspec_folder / "setup.sh").chmod(0o755)
    return kernelspec_folder


@pytest.fixture
def with_stack(notebook, stack):
    notebook.run(f"import os; os.environ['JUPYTER_PATH'] = {str(stack / 'jupyter')!r}")
    yield notebook
    notebook.run("del os.environ['JUPYTER_PATH']")


SHOW = """\
echo "$STACK_VERSION, $(stacktool), mass <$mass> <$1> in $(basename "$PWD") after $EARLIER"
env | grep -c ^HTCMAGIC_K
"""


@pytest.mark.parametrize(
    ("recipe", "options"),
    [
        ({}, ""),
        ({}, "should_transfer_files=YES"),
        ({"clean": True}, "environment='EARLIER=before HTCMAGIC_HOME=/x'"),
        ({"snapshot": True}, "should_transfer_files=YES environment=EARLIER=before"),
    ],
    ids=["shared", "copied", "clean", "snapshot"],
)
def test_a_job_runs_in_the_stack_of_a_kernel(with_stack, stack, recipe, options):
    install(stack, "stacked", sources=(str(stack / "setup.sh"),), **recipe)
    with_stack.run("masses = [{'mass': 'one\\ntwo'}, {'mass': \"o'ne $(x)\"}]")
    sent = submitted(with_stack, f"%%condor_script --over masses --kernel stacked -o c {options}\n{SHOW}")
    assert "2 jobs in the environment of kernel stacked" in sent.result
    here = "" if "transfer" not in options else "scratch"
    earlier = "before" if "EARLIER" in options else ""
    for text, mass in zip(value(with_stack, "[j.stdout() for j in c]"), ["one\ntwo", "o'ne $(x)"], strict=True):
        assert text.startswith(f"v7, tool of v7, mass <{mass}> <{mass}> in {here}"), text
        assert text.endswith(f" after {earlier}\n1\n"), text
    assert "setting up" in value(with_stack, "c.stderr()")
    assert not value(with_stack, "[name for name in os.listdir() if 'htcmagic' in name or name == 'logs']")


def test_nothing_of_a_job_is_written_at_home(with_stack, stack):
    install(stack, "quiet", sources=(str(stack / "setup.sh"),))
    logs = Path(os.environ["HTCMAGIC_HOME"]) / "logs"
    before = sorted(logs.glob("*")) if logs.exists() else []
    submitted(with_stack, "%%condor_script --kernel quiet -o c\nunset HOME; echo ${HTCMAGIC_HOME-none}")
    assert value(with_stack, "c.stdout()") == "none\n"
    assert (sorted(logs.glob("*")) if logs.exists() else []) == before
    assert not Path("/nonexistent").exists()


def test_a_set_up_works_without_a_home(with_stack, stack):
    """Some pools give their jobs no HOME, nor PATH."""
    install(stack, "homeless", sources=(str(stack / "setup.sh"),))
    plan = with_stack.run("%%condor_script --kernel homeless --hold -o c\nstacktool; echo ${HOME-none}")
    assert plan.error is None
    job = Path(value(with_stack, "str(c.run_dir.path / 'job.sh')"))
    done = subprocess.run([job], env={}, capture_output=True, text=True, cwd=stack, check=False)
    with_stack.run("c.rm()")
    assert done.stdout.splitlines()[0] == "tool of v7"
    assert done.returncode == 0
    assert not Path("/nonexistent").exists()


def test_a_failed_set_up_is_the_jobs_error(with_stack, stack):
    install(stack, "broken", sources=(str(stack / "broken.sh"),))
    submitted(with_stack, "%%condor_script --kernel broken -o c\necho not reached")
    error = with_stack.run("c[0].result()").error
    assert error[0] == "JobFailed"
    assert error[1].startswith(
        f"Job {value(with_stack, 'c.id')}.0 did not start: kernel broken: the set-up ended early"
    )
    assert len(error[2].splitlines()) == 2
    assert "no such release" in value(with_stack, "c.stderr()")
    assert value(with_stack, "c.stdout()") == ""


def test_a_script_in_another_language_runs_in_the_stack_too(with_stack, stack):
    install(stack, "stacked", sources=(str(stack / "setup.sh"),))
    submitted(
        with_stack,
        "%%condor_script --kernel stacked -o c\n#!/usr/bin/env python3\nimport os, sys\n"
        "print(os.environ['STACK_VERSION'], sys.argv[1:])",
    )
    assert value(with_stack, "c.stdout()") == "v7 []\n"


def test_tab_offers_options_settings_and_kernels(with_stack, stack):
    install(stack, "stacked", sources=(str(stack / "setup.sh"),))

    def offered(text):
        return with_stack.client.complete(text, len(text), reply=True, timeout=30)["content"]["matches"]

    assert "--inputs" in offered("%%condor_script --in")
    assert "stacked" in offered("%%condor_script --kernel sta")
    assert "request_memory=" in offered("%%condor_script request_m")
    assert "request_memory" not in offered("%%condor_script\nrequest_m")


def test_the_examples_of_the_help_run(notebook):
    from test_documentation import examples

    from htcmagic.magics.script import ScriptMagics

    cells = examples(ScriptMagics.condor_script.__doc__)
    assert len(cells) == 3
    for cell in cells:
        outcome = notebook.run(cell)
        assert outcome.error is None, (cell, outcome.error)
    assert outcome.result.startswith("'mass 500, tune a b, job 0 on ")


class StackKernel(Kernel):
    """A kernel started from one of our kernelspecs."""

    def __init__(self, folder, name):
        from jupyter_client.manager import KernelManager

        self.manager = KernelManager(kernel_name=name)
        self.manager.start_kernel(cwd=str(folder))
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)


def test_in_a_kernel_of_ours_jobs_run_in_its_environment(pool, stack, notebook_dir, monkeypatch):
    install(stack, "mine", sources=(str(stack / "setup.sh"),), settings=(("COLOUR", "deep blue"),))
    monkeypatch.setenv("JUPYTER_PATH", str(stack / "jupyter"))
    kernel = StackKernel(notebook_dir, "mine")
    try:
        assert kernel.run("%load_ext htcmagic\nimport json, htcmagic.kernels").error is None
        assert value(kernel, "str(htcmagic.kernels.environment())").startswith("kernel mine (source ")
        shown = kernel.run("%%condor_script --dry-run\nstacktool").text
        assert "# They run in the environment of kernel mine." in shown
        submitted(kernel, "%%condor_script -o c --name mine\nstacktool; echo $COLOUR; echo $HTCMAGIC_KERNEL")
        assert value(kernel, "c.stdout()") == "tool of v7\ndeep blue\nmine\n"
        assert value(kernel, "repr(c)").partition(": ")[2].startswith("1 job in the environment of kernel mine: 1 done")
        submitted(kernel, "%%condor_script -o c --kernel none\necho ${STACK_VERSION-none}; type -t stacktool")
        assert value(kernel, "c.stdout()") == "none\n"
        submitted(kernel, "%%condor -o c\nexecutable = /usr/bin/env\nqueue")
        assert "STACK_VERSION" not in value(kernel, "c.stdout()"), "%%condor is HTCondor's own language"
        assert kernel.run("import shutil, os; shutil.rmtree(os.environ['HTCMAGIC_KERNEL_DIR'])").error is None
        gone = kernel.run("%%condor_script\nstacktool").error
        assert gone[0] == "KernelError"
        assert "The files of this kernel, mine, are not what they were" in gone[1]
    finally:
        kernel.stop()
