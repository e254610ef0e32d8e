"""``setup.sh``: what it is made of, and what it gives a kernel when all goes well."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import sysconfig
import venv
from dataclasses import replace
from pathlib import Path

import kernels
import pytest

from htcmagic.errors import StackError
from htcmagic.kernels import wrapper
from htcmagic.kernels.recipe import Container, Recipe
from htcmagic.kernels.stack import Stack

PLAIN = Recipe("mine", "Mine", python=sys.executable, creator=sys.executable)


def stack(folder: Path, setup: str, **more) -> Stack:
    """Return a stack of literal bash."""
    return Stack(name="site", title="Site", folder=folder, setup=setup, python=sys.executable, **more)


EVERYTHING = Recipe(
    "all-of-it", "All", stack="site", options={"release": "it's $HOME", "empty": ""}, modules=("root/6.32", "a b"),
    sources=("~/set up.sh", "$X/y"), conda="/opt/conda env", venv="/opt/venv", settings=(("A", "it's `id` $HOME\nb"),),
    prepend_path=("/opt/a b", "$HOME/bin"),
    hooks=("~/.preamble.sh",), clean=True, snapshot=True, injected="/opt/beside", creator="/usr/bin/python3",
)  # fmt: skip
SITE = Stack(
    name="site", title="Site", folder=Path("/nowhere"), setup='export RELEASE="$htc_release"\n',
    entries=("/cvmfs/x/$htc_release/setup.sh",), repositories=("x",), markers=("RELEASE",),
    python_under=("/cvmfs/x/$htc_release",), scrubbed=("SITE_*", "*_OF_SITE"), preset={"QUIET": "1 2"},
)  # fmt: skip
RECIPES = {
    "plain": (PLAIN, None),
    "everything": (EVERYTHING, SITE),
    "exec": (
        Recipe("e", "E", stack="site", options={"release": "1"}, snapshot=True),
        replace(SITE, kind="exec", setup="htc_exec=(env A=1)\n"),
    ),
    "image": (replace(PLAIN, container=Container("/opt/image")), None),
    "stack in image": (replace(EVERYTHING, container=Container("/opt/image", passed=("A*",), binds=("/a b",))), SITE),
}  # fmt: skip


@pytest.mark.parametrize("name", RECIPES)
def test_the_script_is_sound_and_always_the_same(name, tmp_path):
    recipe, known = RECIPES[name]
    text = wrapper.render(recipe, known, "htc-kernel create …")
    assert text == wrapper.render(Recipe.from_json(recipe.as_json()), known, "htc-kernel create …")
    assert text.startswith("#!/bin/bash\n")
    assert wrapper.syntax_problem(text) == ""
    file = tmp_path / "setup.sh"
    file.write_text(text)
    checker = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run([checker, file], capture_output=True, text=True, check=False)
    assert done.stdout == ""
    lines = text.splitlines()
    first = (
        next(number for number, line in enumerate(lines) if re.match(r"\s*(source|\.) ", line))
        if "source " in text
        else len(lines)
    )
    assert lines.index("set --") < first


def test_bash_of_old_systems_reads_it():
    text = "".join(map(wrapper.fragment, wrapper.FRAGMENTS))
    inside = text.replace(wrapper.fragment("outside"), "")
    for later in (
        r"mapfile -d",
        r"wait -n",
        r"\$\{\w+@[A-Za-z]\}",
        r"local -n",
        r"declare -n",
        r"-v \w+\[",
        r"EPOCH",
        r"\$\{\w+: -",
        r"inherit_errexit",
    ):
        assert not re.search(later, inside), later


def test_the_launcher_is_python_of_old_stacks_too():
    tree = ast.parse(wrapper.launcher(), feature_version=(3, 4))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr | ast.AnnAssign)]
    assert "'" not in wrapper.launcher()


def test_an_option_cannot_take_a_variable_of_the_machinery():
    with pytest.raises(StackError, match="cannot be called python"):
        wrapper.render(Recipe("a", "A", stack="site", options={"python": "3"}), SITE, "")


LOOK = """
import os, sys, __main__
print(os.environ["HELLO"])
print(os.path.basename(sys.argv[0]), sys.argv[1], os.getcwd())
print(os.environ["JPY_PARENT_PID"] == str(os.getppid()), sys.path.count(""), os.getpid() == os.getpgid(0))
print(sorted(name for name in os.environ if "htc" in name.lower() and name not in given))
print(hasattr(__main__, "watch"), hasattr(__main__, "expected"))
"""


def test_a_kernel_is_what_ipykernel_s_launcher_gives(tmp_path):
    kernel = kernels.sourcing(tmp_path, "export HELLO='you there'\necho said to all\n")
    work = tmp_path / "work"
    work.mkdir()
    (work / "random.py").write_text("raise SystemExit('of the notebook')\n")
    with kernels.started(kernel, cwd=work) as running:
        assert running.run(f"given = {list(os.environ)}{LOOK}").text.splitlines() == [
            "you there",
            f"ipykernel_launcher.py -f {work}",
            "True 1 True",
            "['HTCMAGIC_KERNEL', 'HTCMAGIC_KERNEL_DIR']",
            "False False",
        ]
        words = Path(f"/proc/{running.pid}/cmdline").read_text().split("\0")
        assert words[0] == sys.executable
        assert "ipykernel_launcher" in " ".join(words)
        assert max(map(len, words)) < 200
        assert "said to all" in running.said
        assert "you there" in running.run("!echo $HELLO").text
        assert list(kernels.group(running.pid)) == [running.pid]


def test_other_commands_in_the_same_environment(tmp_path):
    kernel = kernels.sourcing(tmp_path, "export HELLO='you there'\necho said to all\n")
    done = kernels.ask(
        kernel,
        "--run",
        "sh",
        "-c",
        'echo "$HELLO" "$#" "$1"; read line; echo "$line"; exit 7',
        "sh",
        "a b",
        input="typed\n",
    )
    assert (done.stdout, done.returncode) == ("you there 1 a b\ntyped\n", 7)
    assert "said to all" in done.stderr
    done = kernels.ask(kernel, "--python", "-c", "import sys; print(sys.executable); sys.exit(3)")
    assert (done.stdout, done.returncode) == (f"{sys.executable}\n", 3)
    done = kernels.ask(kernel, "--run", "no-such-command")
    assert done.returncode == 97
    assert done.stderr.splitlines()[-1] == "htcmagic: kernel mine: no-such-command cannot be run"


def test_no_argument_reaches_what_is_sourced(tmp_path):
    script = tmp_path / "view setup.sh"
    script.write_text('export SEEN="$#|$*|${BASH_ARGV[0]}|${BASH_SOURCE[0]}"\ncd /\n')
    recipe = replace(PLAIN, sources=(str(script),))
    told = kernels.given(kernels.write(recipe, tmp_path))
    assert told["env"]["SEEN"] == f"0||{script}|{script}"
    known = stack(
        tmp_path, f"source '{script}'\nexport MY_OWN=\"$#$*\"\nsource '{script}' one two\nexport AGAIN=$SEEN\n"
    )
    told = kernels.given(kernels.write(replace(PLAIN, stack="site"), tmp_path, known))
    assert told["env"]["MY_OWN"] == "0"
    assert told["env"]["AGAIN"].startswith("2|one two|")


def test_aliases_of_a_stack_work(tmp_path):
    known = stack(tmp_path, "shopt -s expand_aliases\nalias asetup='export QUIET=1'\nasetup RELEASE=25.2\n")
    told = kernels.given(kernels.write(replace(PLAIN, stack="site"), tmp_path, known))
    assert told["env"]["RELEASE"] == "25.2"


INHERITED = {
    "PYTHONHOME": "/nowhere", "PYTHONPATH": "/nowhere", "PYTHONSTARTUP": "/nowhere", "LD_LIBRARY_PATH": "/nowhere",
    "LD_PRELOAD": "", "VIRTUAL_ENV": "/opt/other venv", "VIRTUAL_ENV_PROMPT": "(x)", "CONDA_PREFIX": "/opt/conda",
    "CONDA_SHLVL": "2", "JUPYTER_PATH": "/nowhere", "ROOTSYS": "/nowhere", "SITE_A": "1", "A_OF_SITE": "1",
    "LCG_VERSION": "1", "MY_OWN": "kept", "JUPYTERHUB_API_TOKEN": "secret", "HOME": "/root", "LC_TIME": "C",
    "PATH": "/opt/other venv/bin:/opt/conda/bin:/usr/bin:/bin:/opt/conda/bin", "X509_USER_PROXY": "/tmp/x",
}  # fmt: skip


def test_what_another_python_or_stack_has_left_is_forgotten(tmp_path):
    told = kernels.given(kernels.write(PLAIN, tmp_path), INHERITED)["env"]
    assert told["PATH"] == "/usr/bin:/bin"
    assert told["PYTHONNOUSERSITE"] == "1"
    assert set(INHERITED) - set(told) == {
        "PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "LD_LIBRARY_PATH", "LD_PRELOAD", "VIRTUAL_ENV",
        "VIRTUAL_ENV_PROMPT", "CONDA_PREFIX", "CONDA_SHLVL", "JUPYTER_PATH", "ROOTSYS",
    }  # fmt: skip
    known = stack(tmp_path, "export PYTHONPATH=/my:$PYTHONPATH\n", scrubbed=("SITE_*", "*_OF_SITE"))
    told = kernels.given(kernels.write(replace(PLAIN, stack="site", user_site=True), tmp_path, known), INHERITED)["env"]
    assert told["PYTHONPATH"] == "/my:"
    assert not {"SITE_A", "A_OF_SITE", "LCG_VERSION", "PYTHONNOUSERSITE"} & set(told)
    assert told["MY_OWN"] == "kept"


def test_a_clean_environment(tmp_path):
    env = {**INHERITED, "odd-name": "1", "BASH_FUNC_f%%": "() { :; }", "HTCMAGIC_HOME": str(tmp_path / "home")}
    kernel = kernels.sourcing(tmp_path, "export SEEN=$MY_OWN; export ALSO=1\n", clean=True)
    told = kernels.given(kernel, env)["env"]
    assert {name for name in told if not name.startswith(("HTCMAGIC_", "LC_CTYPE", "SHLVL", "PWD", "OLDPWD", "_"))} == {
        "ALSO", "HOME", "LC_TIME", "PATH", "PYTHONNOUSERSITE", "SEEN", "X509_USER_PROXY"
    }  # fmt: skip
    assert (told["SEEN"], told["PATH"]) == ("", "/usr/local/bin:/usr/bin:/bin")
    assert "HTCMAGIC_CLEANED" not in told
    with kernels.started(kernel, env) as running:
        assert (
            running.run("import os; print(sorted({'MY_OWN', 'ALSO', 'PYTHONHOME'} & set(os.environ)))").text
            == "['ALSO']\n"
        )


def test_settings_come_last_and_hooks_may_fail(tmp_path):
    hook = tmp_path / "hook.sh"
    hook.write_text("export A=of_hook B=of_hook\nreturn 1\n")
    recipe = replace(
        PLAIN,
        settings=(("A", "it's `id` $HOME\n"), ("PYTHONPATH", "/mine")),
        prepend_path=("/opt/a b", "$HOME/bin"),
        hooks=(str(hook), "/no/hook"),
    )
    told = kernels.given(kernels.write(recipe, tmp_path), {"PATH": "/usr/bin:/bin", "HOME": "/my home"})["env"]
    assert (told["A"], told["B"], told["PYTHONPATH"]) == ("it's `id` $HOME\n", "of_hook", "/mine")
    assert told["PATH"] == "/opt/a b:/my home/bin:/usr/bin:/bin"


def test_the_result_is_verified_not_the_return_code(tmp_path):
    def ask(setup, **more):
        known = stack(tmp_path, setup, markers=("RELEASE",), **more)
        return kernels.ask(kernels.write(Recipe("mine", "m", stack="site"), tmp_path, known), "--run", "true")

    assert "RELEASE is not set after it" in ask("true\n").stderr
    assert "RELEASE is not set after it" in ask("export RELEASE=\n").stderr
    done = ask("export RELEASE=1\nfalse\n", python_under=("/cvmfs/site/",))
    assert f"python is {sys.executable}, not one below /cvmfs/site/" in done.stderr
    assert ask("export RELEASE=1\nfalse\n", python_under=("/no", str(Path(sys.executable).parents[1]))).returncode == 0
    assert ask(f"export RELEASE=1 ROOT={Path(sys.executable).parent}\n", python_under=("$ROOT/",)).returncode == 0
    assert "no stack for you" in ask('htc_refuse "no stack for you"\n').stderr
    assert ask("export OTHER=1\nhtc_markers=(OTHER) htc_under=()\n", python_under=("/no",)).returncode == 0


def test_exported_functions_are_there_for_shells(tmp_path):
    setup = "lsetup() { echo \"set up $1\"; helper; }\nhelper() { echo $'it\\'s helped'; }\n"
    setup += "export -f lsetup helper\nhidden() { :; }\ncd() { :; }\nexport -f cd\n"
    kernel = kernels.sourcing(tmp_path, setup)
    done = kernels.ask(kernel, "--run", "bash", "-c", 'lsetup "a b"; type -t hidden cd')
    assert done.stdout == "set up a b\nit's helped\nbuiltin\n"


def test_stacks_that_run_commands(tmp_path):
    runner = tmp_path / "run er"
    runner.write_text(
        '#!/bin/bash\nunset GONE\nexport RELEASE="$1"\nshift\nfor n in {3..40}; do eval "exec $n>&-"; done\n"$@"\n'
    )
    runner.chmod(0o755)
    for setup in (f"htc_exec=('{runner}' 'v 1')\n", f"export OWN=1\nhtc_exec=('{runner}' \"$htc_release\")\n"):
        known = stack(tmp_path, setup, kind="exec", markers=("RELEASE",))
        kernel = kernels.write(replace(PLAIN, stack="site", options={"release": "v 1"}), tmp_path, known)
        told = kernels.given(kernel, {**os.environ, "GONE": "1"})
        assert (told["env"]["RELEASE"], told["env"].get("GONE")) == ("v 1", None)
        assert told["env"].get("OWN") == ("1" if "OWN" in setup else None)
        assert told["children"] == []
    for setup, reason in (
        ("htc_exec=(false)\n", "the stack's command false failed with exit status 1"),
        ("htc_exec=(/no/lb-run v1)\n", "the stack's command /no/lb-run failed with exit status 127"),
        ("htc_exec=(env -u RELEASE)\n", "RELEASE is not set after it"),
    ):
        known = stack(tmp_path, setup, kind="exec", markers=("RELEASE",))
        done = kernels.ask(kernels.write(replace(PLAIN, stack="site"), tmp_path, known), "--run", "true")
        assert done.returncode == 97
        assert reason in done.stderr


MODULE = """
module() {
    case $1 in
        purge) unset LOADEDMODULES ROOTSYS ;;
        load) [[ -f $MODULEPATH/$2 ]] || { echo "cannot find $2" >&2; return 1; }
            export LOADEDMODULES=${LOADEDMODULES:+$LOADEDMODULES:}$2 _LMFILES_=$MODULEPATH/$2; . "$MODULEPATH/$2" ;;
    esac
}
export -f module
"""


def test_environment_modules(tmp_path):
    site = tmp_path / "site"
    (site / "init").mkdir(parents=True)
    (site / "init/bash").write_text(MODULE)
    (site / "modulefiles/root").mkdir(parents=True)
    (site / "modulefiles/root/6.32").write_text("export ROOTSYS=/opt/root\n")
    kernel = kernels.write(replace(PLAIN, modules=("root/6.32",)), tmp_path)
    env = {**os.environ, "MODULESHOME": str(site), "MODULEPATH": str(site / "modulefiles")}
    told = kernels.given(kernel, env)["env"]
    assert (told["ROOTSYS"], told["LOADEDMODULES"]) == ("/opt/root", "root/6.32")
    done = kernels.ask(kernel, "--run", "bash", "-c", "module load root/6.32 && echo $LOADEDMODULES", env=env)
    assert done.stdout == "root/6.32:root/6.32\n"
    known = stack(tmp_path, "true\n")
    kernel_on_stack = kernels.write(replace(PLAIN, name="two", stack="site", modules=("root/6.32",)), tmp_path, known)
    assert kernels.given(kernel_on_stack, env)["env"]["ROOTSYS"] == "/opt/root"
    body = MODULE.partition("module() {")[2].partition("\n}\nexport")[0]
    inherited = {
        **env,
        "MODULESHOME": "",
        "BASH_FUNC_module%%": "() {" + body + "\n}",
        "LOADEDMODULES": "old",
        "ROOTSYS": "old",
    }
    assert kernels.given(kernel, inherited)["env"]["LOADEDMODULES"] == "root/6.32"
    done = kernels.ask(kernels.write(replace(PLAIN, modules=("none/1",)), tmp_path), "--run", "true", env=env)
    assert "cannot find none/1" in done.stderr
    assert done.stderr.splitlines()[-1] == "htcmagic: kernel mine: module load none/1 failed"


def test_conda_s_scripts_run_without_conda(tmp_path):
    prefix = tmp_path / "conda/envs/my env"
    (prefix / "etc/conda/activate.d").mkdir(parents=True)
    (prefix / "bin").mkdir()
    (prefix / "bin/python").symlink_to(sys.executable)
    (prefix / "etc/conda/activate.d/a.sh").write_text('export FROM_SCRIPT="$CONDA_PREFIX" OLD="${NO_SUCH}"\n')
    kernel = kernels.write(replace(PLAIN, python="", conda=str(prefix)), tmp_path)
    told = kernels.given(kernel, {**os.environ, "CONDA_PREFIX": "/opt/base", "PYTHONHOME": "/no"})["env"]
    assert told["FROM_SCRIPT"] == told["CONDA_PREFIX"] == str(prefix)
    assert told["PATH"].startswith(f"{prefix}/bin:")
    (prefix / "bin/python").unlink()
    assert f"no conda environment {prefix} any more" in kernels.ask(kernel, "--run", "true").stderr


def test_a_real_virtual_environment_on_a_stack(tmp_path):
    prefix = tmp_path / "my venv"
    venv.create(prefix, with_pip=False, system_site_packages=True)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(prefix)}))
    (site / "tests.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    (site / "both.py").write_text("FROM = 'venv'\n")
    (tmp_path / "of_stack").mkdir()
    (tmp_path / "of_stack/both.py").write_text("FROM = 'stack'\n")
    known = stack(tmp_path, f"export PYTHONPATH='{tmp_path}/of_stack' PYTHONHOME=/nowhere\n")
    kernel = kernels.write(replace(PLAIN, python="", stack="site", venv=str(prefix)), tmp_path, known)
    with kernels.started(kernel) as running:
        assert (
            running.run("import both, sys, os; print(both.FROM, sys.prefix, os.environ['VIRTUAL_ENV'])").text
            == f"venv {prefix} {prefix}\n"
        )
        assert Path(f"/proc/{running.pid}/cmdline").read_text().startswith(f"{prefix}/bin/python\0")


def test_a_python_without_ipykernel_with_one_beside_it(tmp_path):
    bare = tmp_path / "bare"
    venv.create(bare, with_pip=False)
    recipe = Recipe("mine", "m", venv=str(bare), creator=sys.executable)
    with kernels.started(kernels.write(recipe, tmp_path)) as running:
        outcome = running.run("1")
        assert outcome.error is not None
        assert "cannot import ipykernel: ModuleNotFoundError" in outcome.error[1]
    kernel = kernels.write(replace(recipe, injected=sysconfig.get_path("purelib")), tmp_path)
    with kernels.started(kernel) as running:
        assert running.run("import sys; print(sys.prefix)").text == f"{bare}\n"
