"""Every stack of ours against look-alikes of the true scripts at their true paths."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path

import ordinary
import pytest
from cvmfs import namespace, tree
from cvmfs.cases import CASES
from cvmfs.machine import Machine

LOOK = """\
import importlib, json, os, sys
def tried(name):
    try:
        return importlib.import_module(name).TREE
    except Exception as error:
        return repr(error)
told = {
    "executable": sys.executable, "argv": sys.argv[1:], "cwd": os.getcwd(), "env": dict(os.environ),
    "packages": {name: tried(name) for name in json.loads(%r)},
    "own": sorted(name for name in globals() if name.startswith("htc")), "fds": sorted(os.listdir("/proc/self/fd")),
    "subreaper": os.getppid(),
}
print(json.dumps(told))
"""


@pytest.fixture(scope="session")
def cvmfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the tree."""
    return tree.build(tmp_path_factory.mktemp("cvmfs"))


@pytest.fixture
def machine(cvmfs: Path, tmp_path: Path) -> Machine:
    """Give a machine that has the tree."""
    return Machine(cvmfs, tmp_path)


TRAPS = tomllib.loads((tree.HERE / "traps.toml").read_text())


@pytest.fixture(scope="session")
def printed(cvmfs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Run the look-alikes as they come; what they print."""
    machine = Machine(cvmfs, tmp_path_factory.mktemp("traps"))
    answer: dict[str, str] = machine.one("shell", texts={name: trap["run"] for name, trap in TRAPS.items()})
    return answer


@pytest.mark.parametrize("name", TRAPS)
def test_the_look_alikes_have_their_traps(printed: dict[str, str], name: str) -> None:
    assert printed[name].strip() == TRAPS[name]["prints"].replace("@PY@", tree.PY).strip()


@pytest.mark.parametrize("name", CASES)
def test_a_kernel_is_in_its_stack(machine: Machine, name: str) -> None:
    case = CASES[name]
    made, told = machine.do(
        ("make", {"name": name, "stack": case.stack, "options": case.options}),
        (
            "ask",
            {
                "name": name,
                "cells": [
                    LOOK % json.dumps(case.packages),
                    f"exec(open({str(machine.kernels / name / 'verify.py')!r}).read())",
                    f"!bash -c {case.command!r}",
                ],
            },
        ),
    )
    assert "error" not in made, made["error"]
    assert made["options"].items() >= case.resolved.items()
    assert told["died"] == "", told["said"]
    look, verify, command = told["cells"]
    assert look["error"] is None, look["error"][2]
    seen = json.loads(look["text"])
    assert seen["executable"] == case.python
    assert seen["cwd"] == str(machine.notebooks)
    assert {key: seen["env"].get(key, "") for key in case.values} == {
        key: value if not value.endswith("/") else seen["env"].get(key, "") for key, value in case.values.items()
    }
    assert seen["packages"] == {one: one for one in case.packages}
    assert seen["env"]["PYTHONNOUSERSITE"] == "1"
    assert seen["env"]["HTCMAGIC_KERNEL"] == name
    assert not [key for key in seen["env"] if key.startswith("htc_")]
    assert verify["error"] is None, verify["error"][2]
    assert case.command_says in command["text"]
    assert "not found" not in command["text"] or "not found" in case.command_says


WRONG = [(name, option, value) for name, case in CASES.items() for option, value in case.wrong]


def test_what_there_is_not_is_refused_when_a_kernel_is_made_or_started(machine: Machine) -> None:
    steps = []
    for number, (name, option, value) in enumerate(WRONG):
        case = CASES[name]
        made = {"name": f"k{number}", "stack": case.stack, "options": case.options, "forced": {option: value}}
        steps += [("make", made), ("run", {"name": f"k{number}", "words": ["python3", "-c", "print(1)"]})]
    answers = machine.do(*steps)[1::2]
    for (name, option, value), told in zip(WRONG, answers, strict=True):
        assert (told["status"], told["out"]) == (97, ""), (name, option, value, told)
        assert told["err"].count("htcmagic: ") >= 1, (name, option, value, told)


@pytest.mark.parametrize("name", ["belle2", "eessi", "lhcb-run", "lcg", "atlas-asetup"])
def test_the_kernel_of_a_release_that_is_gone_says_so(machine: Machine, name: str) -> None:
    case = CASES[name]
    forced = dict([case.wrong[0]])
    machine.one("make", name="k", stack=case.stack, options=case.options, forced=forced)
    told = machine.one("ask", name="k", cells=["print('the host')", "1 + 1"])
    assert told["died"] == "", told["said"]
    for cell in told["cells"]:
        assert (cell["text"], cell["result"]) == ("", "")
        assert cell["error"][0] == "KernelNotStarted"
    shown = told["cells"][0]["error"][2]
    assert next(iter(forced.values())).split("/")[-1] in shown
    assert "htc-kernel check k" in shown


def test_a_repository_that_is_not_mounted_is_named(machine: Machine, tmp_path: Path) -> None:
    makes = [("make", {"name": name, "stack": case.stack, "options": case.options}) for name, case in CASES.items()]
    machine.do(*makes)
    machine.tree = tmp_path / "none"
    machine.tree.mkdir()
    answers = machine.do(*(("run", {"name": name, "words": ["true"]}) for name in CASES))
    for (name, case), told in zip(CASES.items(), answers, strict=True):
        repository = case.python.split("/")[2]
        first = {"atlas": "atlas.cern.ch", "lhcb": "lhcb.cern.ch", "key4hep": "sw.hsf.org"}.get(case.stack, repository)
        assert told["status"] == 97, (name, told)
        assert f"/cvmfs/{first}" in told["err"], (name, told)
    refused = machine.one("make", name="k", stack="lcg", options={})
    assert "sft.cern.ch" in refused["error"]


HOSTILE = {
    "PYTHONHOME": "/nowhere",
    "PYTHONPATH": "/nowhere",
    "PYTHONSTARTUP": "/nowhere/startup.py",
    "PYTHONNOUSERSITE": "",
    "LD_LIBRARY_PATH": "/nowhere",
    "VIRTUAL_ENV": "/nowhere/venv",
    "CONDA_PREFIX": "/nowhere/conda",
    "CONDA_SHLVL": "2",
    "CONDA_DEFAULT_ENV": "base",
    "KEY4HEP_STACK": "/cvmfs/sw.hsf.org/key4hep/setup.sh",
    "LCG_VERSION": "LCG_1",
    "ROOTSYS": "/nowhere/root",
    "COMPILER": "native",
    "ALRB_RELOCATECVMFS": "YES",
    "AtlasProject": "Athena",
    "MY_BELLE2_RELEASE": "release-01-00-00",
    "MY_BELLE2_DIR": "/nowhere",
    "VO_BELLE2_SW_DIR": "/nowhere",
    "BELLE2_RELEASE": "release-01-00-00",
    "SCRAM_ARCH": "slc6_amd64_gcc481",
    "CMSSW_BASE": "/nowhere",
    "BINARY_TAG": "x86_64-slc6-gcc49-opt",
    "MODULES_SHELL": "tcsh",
    "I3_SHELL": "bash",
    "SROOT": "/nowhere",
    "OS_ARCH": "none",
    "LSST_CONDA_ENV_NAME": "none",
    "EUPS_PATH": "/nowhere",
    "EESSI_VERSION_OVERRIDE": "1999.01",
    "EESSI_VERSION": "1999.01",
    "EESSI_SOFTWARE_SUBDIR_OVERRIDE": "none",
    "SKIP_CC_CVMFS": "1",
    "SKIP_CVMFS": "1",
    "__Init_Default_Modules": "1",
    "LOADEDMODULES": "gcc/4",
    "_LMFILES_": "/nowhere/gcc/4",
    "MODULEPATH": "/nowhere/modules",
    "LMOD_SYSTEM_DEFAULT_MODULES": "none",
    "OFFLINE_MAIN": "/nowhere",
    "OPT_SPHENIX": "/nowhere",
    "SHELL": "/bin/tcsh",
    "BASH_ENV": "/nowhere/bash_env",
    "ENV": "/nowhere/env",
    "SHELLOPTS": "braceexpand:errexit:nounset:pipefail",
    "CDPATH": "/nowhere:/usr",
    "BASH_FUNC_source%%": "() { echo hijacked; }",
    "BASH_FUNC_module%%": "() { echo hijacked; }",
    "BASH_FUNC_lsetup%%": "() { echo hijacked; }",
    "BASH_FUNC_python3%%": "() { echo hijacked; }",
    "JUPYTER_PATH": "/nowhere/jupyter",
}
"""What a server may have inherited from a shell in which something was set up."""


DANGEROUS = (
    *("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "CONDA_PREFIX", "PYTHON3PATH"),
    *("EBPYTHONPREFIXES", "ROOTSYS", "ROOT_INCLUDE_PATH", "CMAKE_PREFIX_PATH", "KEY4HEP_STACK", "LOADEDMODULES"),
    *("MODULEPATH", "GIT_EXEC_PATH", "QT_PLUGIN_PATH", "FONTCONFIG_PATH", "G4LEDATA"),
)
"""What must not be left over from another stack."""


def spoilt(plain: dict[str, str], other: dict[str, str]) -> dict[str, tuple[str | None, str | None]]:
    """Return what a stack sets and now is not so, and what must not be there; but for the user's shell and his PATH."""
    differ = changed(plain, other)
    kept = plain["PATH"].removesuffix(os.defpath)
    if other["PATH"].startswith(kept):
        differ.pop("PATH", None)
    for name in ("SHELL", "ORIG_PATH", "CONDA_BACKUP_ADDR2LINE"):
        differ.pop(name, None)
    return {name: pair for name, pair in differ.items() if name in plain or name in DANGEROUS}


def changed(one: dict[str, str], other: dict[str, str]) -> dict[str, tuple[str | None, str | None]]:
    """Return which variables differ between two environments, but for what is new at each start."""
    own = {"_", "SHLVL", "PWD", "OLDPWD", "_ModuleTable001_", "HTCMAGIC_KERNEL", "HTCMAGIC_KERNEL_DIR"}
    names = (set(one) | set(other)) - own
    return {name: (one.get(name), other.get(name)) for name in sorted(names) if one.get(name) != other.get(name)}


@pytest.mark.parametrize("name", CASES)
def test_what_is_inherited_does_not_matter(machine: Machine, name: str) -> None:
    case = CASES[name]
    _, plain, hostile = machine.do(
        ("make", {"name": "k", "stack": case.stack, "options": case.options}),
        ("environment", {"name": "k"}),
        ("environment", {"name": "k", **HOSTILE}),
    )
    assert plain["status"] == 0, plain["err"]
    assert hostile["status"] == 0, hostile["err"]
    assert spoilt(plain["env"], hostile["env"]) == {}
    assert "hijacked" not in hostile["err"]


@pytest.mark.slow
def test_a_stack_comes_up_in_the_kernel_of_any_other(machine: Machine) -> None:
    names = list(CASES)
    makes = [("make", {"name": name, "stack": CASES[name].stack, "options": CASES[name].options}) for name in names]
    plain = machine.do(*makes, *(("environment", {"name": name}) for name in names))[len(names) :]
    envs = {name: told["env"] for name, told in zip(names, plain, strict=True)}
    pairs = list(zip(names, [*names[3:], *names[:3]], strict=True)) + [(name, "lcg") for name in names if name != "lcg"]
    again = machine.do(*(("environment", {"name": name, **envs[other]}) for name, other in pairs))
    wrong = {}
    for (name, other), told in zip(pairs, again, strict=True):
        if differ := spoilt(envs[name], told["env"]) if told["status"] == 0 else told["err"]:
            wrong[name, other] = differ
    assert wrong == {}


@pytest.mark.parametrize("name", CASES)
def test_a_snapshot_gives_what_the_set_up_gives(machine: Machine, name: str) -> None:
    case = CASES[name]
    options = {"stack": case.stack, "options": case.options}
    _, _, live, first, second = machine.do(
        ("make", {"name": "live", **options}),
        ("make", {"name": "kept", **options, "snapshot": True}),
        ("environment", {"name": "live"}),
        ("environment", {"name": "kept"}),
        ("environment", {"name": "kept"}),
    )
    kept = list((machine.home.parent / "htcmagic/snapshots").glob("kept-*.sh"))
    assert kept, first["err"]
    assert all(file.stat().st_mode & 0o077 == 0 for file in kept)
    assert set(changed(live["env"], first["env"])) <= {"ORIG_PATH"}
    differ = changed(live["env"], second["env"])
    differ.pop("ORIG_PATH", None)  # PATH as it was: a session's
    assert {key: pair for key, pair in differ.items() if not key.startswith("BASH_FUNC_")} == {}
    assert {key for key in live["env"] if key.startswith("BASH_FUNC_")} <= set(second["env"])


def test_modules_of_the_machine_are_found_and_loaded(machine: Machine, tmp_path: Path) -> None:
    python = tmp_path / "python"
    tree.python(python, ["root_of_module"])
    modules = {
        "root/6.32": [f"prepend-path PATH {python}/bin", "setenv ROOTSYS /nowhere/root"],
        "gcc/13": ["setenv CC gcc-13"],
    }
    made = machine.one("make", name="none", stack="lmod", options={"modules": "gcc root"})
    assert "there are no environment modules here" in machine.one("run", name="none", words=["true"])["err"]
    machine.grafts["/usr/share/lmod"] = tree.lmod(tmp_path / "lmod/lmod", modules).parent
    wanted = ["python3", "-c", "import os, root_of_module; print(os.environ['CC'], os.environ['ROOTSYS'])"]
    answers = machine.do(
        ("make", {"name": "k", "stack": "lmod", "options": {"modules": "gcc root/6.32"}}),
        ("make", {"name": "plain", "modules": ["gcc", "root"]}),
        ("make", {"name": "gone", "stack": "lmod", "options": {"modules": "gcc/12"}}),
        *(("run", {"name": name, "words": wanted}) for name in ("k", "plain", "gone")),
        ("run", {"name": "k", "words": ["bash", "-c", "module list"], **HOSTILE}),
    )
    assert "error" not in made
    assert [told["out"] for told in answers[3:6]] == ["gcc-13 /nowhere/root\n"] * 2 + [""]
    assert "module load gcc/12 failed" in answers[5]["err"]
    assert "gcc/13" in answers[6]["err"]


@pytest.mark.parametrize(
    ("stack", "options"),
    [("dune", {}), ("fermilab", {"setups": "/cvmfs/dune.opensciencegrid.org/products/dune/setup_dune.sh"})],
)
def test_ups_works_where_no_image_is_needed(machine: Machine, stack: str, options: dict[str, str]) -> None:
    options = {"product": "dunesw", "release": "v10_26_00d00", "qualifiers": "e26:prof", **options}
    made, fine, _, gone = machine.do(
        ("make", {"name": "k", "stack": stack, "forced": options, "options": options}),
        ("run", {"name": "k", "mode": "--python", "words": ["-c", "import dunesw, sys; print(sys.executable)"]}),
        ("make", {"name": "gone", "stack": stack, "options": options, "forced": {"qualifiers": "e1:debug"}}),
        ("run", {"name": "gone", "words": ["true"]}),
    )
    assert made.get("error", "") == ""
    assert fine["out"] == "/cvmfs/dune.opensciencegrid.org/products/dune/python/v3_9_15/bin/python3\n", fine["err"]
    assert gone["status"] == 97
    assert "SETUP_DUNESW" in gone["err"]


def test_what_a_user_types(machine: Machine) -> None:
    assert machine.command("create", "--cvmfs", "belle2", "--release", "light-2603-ina", "--name", "b2").returncode == 0
    refused = machine.command("create", "--cvmfs", "belle2", "--release", "light-2603", "--name", "b3")
    without = machine.command("create", "--cvmfs", "atlas", "--release", tree.WITHOUT_IPYKERNEL.replace("/", ","))
    verdict = machine.command("check", "b2", "--quick", "--json")
    assert refused.returncode == 1
    assert "light-2603-ina" in refused.stderr
    assert without.returncode == 1
    assert "--inject-ipykernel" in without.stderr
    assert verdict.returncode == 0, verdict.stdout + verdict.stderr
    assert "light-2603-ina" in machine.command("list").stdout
    assert sorted(
        entry.name for entry in (machine.home / ".local/share/jupyter/kernels").iterdir() if entry.is_dir()
    ) == ["b2"]


@pytest.mark.slow
def test_ordinary_users_have_the_tree_as_well() -> None:
    which = "a_kernel_is_in_its_stack and (lcg or computecanada or icecube) or (traps and igwn)"
    done = ordinary.run_tests(Path(__file__), which)
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


def test_what_is_not_built_for_this_system_is_refused_or_said(machine: Machine) -> None:
    machine.system = 'NAME="Debian GNU/Linux"\nID=debian\nVERSION_ID="12"\nVERSION="12 (bookworm)"\n'
    refused = machine.command("create", "--cvmfs", "key4hep", "--no-probe")
    assert refused.returncode == 1
    assert "debian12" in refused.stderr
    assert "--container" in refused.stderr
    machine.system = namespace.EL9
    machine.one("make", name="k", stack="key4hep")
    machine.system = machine.system.replace("almalinux", "debian")
    told = machine.one("run", name="k", words=["true"])
    assert told["status"] == 97
    assert "Unsupported OS" in told["err"]
