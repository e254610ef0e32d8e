"""What is rendered for each stack, byte by byte, and what shellcheck and bash say to it."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from htcmagic.kernels import stack as stacks
from htcmagic.kernels import wrapper
from htcmagic.kernels.recipe import Recipe

HERE = Path(__file__).parent
SHIPPED = HERE.parent / "kernelspecs"
GOLDEN = HERE / "golden"
REWRITE = "HTCMAGIC_REWRITE_GOLDEN"
"""Set it to have the files written anew; then read what git says has changed."""
OPTIONS = {
    "alice": {"package": "O2Physics", "release": "daily-20250602-0000-1"},
    "atlas": {"release": "AnalysisBase,25.2.15", "platform": "", "tools": "rucio -w"},
    "belle2": {"release": "light-2603-ina"},
    "cms": {"release": "CMSSW_14_0_0", "platform": "el9_amd64_gcc12"},
    "computecanada": {"release": "2023", "python_version": "3.11", "ipykernel": "", "modules": ""},
    "dune": {"product": "dunesw", "release": "v10_26_00d00", "qualifiers": "e26:prof"},
    "eessi": {"release": "2025.06", "modules": "JupyterLab"},
    "eic": {"release": "nightly", "detector": "epic-main"},
    "fermilab": {
        "setups": "/cvmfs/fermilab.opensciencegrid.org/products/common/etc/setups.sh",
        "product": "larsoft",
        "release": "v10_06_00",
        "qualifiers": "e26:prof",
    },
    "icecube": {"release": "py3-v4.4.2", "metaproject": "icetray/v1.17.0"},
    "igwn": {"release": "igwn-py311"},
    "key4hep": {"release": "2025-05-29", "build": "opt"},
    "lcg": {"release": "LCG_107", "platform": "x86_64-el9-gcc13-opt"},
    "lhcb": {"release": "default/2025-06-01_10-00", "platform": ""},
    "lmod": {"modules": "gcc/13 root/6.32", "init": "", "use": ""},
    "lsst": {"platform": "almalinux-x86_64", "release": "v29.2.1", "product": "lsst_distrib"},
    "osg-modules": {"modules": "python/3.7"},
    "sphenix": {"platform": "alma9.2-gcc-14.2.0", "release": "ana.541", "install": ""},
}


def rendered(name: str) -> str:
    stack = stacks.read(SHIPPED / name)
    recipe = Recipe(name=name, title=stack.title, stack=name, options=OPTIONS[name], creator="/usr/bin/python3")
    return wrapper.render(recipe, stack, f"htc-kernel create --cvmfs {name}")


def told(name: str) -> str:
    """Return what is rendered, but for the machinery that all share: its place is named."""
    text = rendered(name)
    for piece in (*wrapper.FRAGMENTS, "launcher"):
        whole = wrapper.launcher() if piece == "launcher" else wrapper.fragment(piece)
        for form in (whole.rstrip("\n"), shlex.quote(whole)):
            text = text.replace(form, f"# (htcmagic/kernels: {piece})")
    return text


def test_every_stack_has_its_golden_file() -> None:
    shipped = {file.parent.name for file in SHIPPED.glob("*/stack.toml")}
    assert shipped == set(OPTIONS)
    if REWRITE in os.environ:
        for name in OPTIONS:
            (GOLDEN / f"{name}.sh").write_text(told(name), encoding="utf-8")
    assert {file.stem for file in GOLDEN.glob("*.sh")} == shipped


@pytest.mark.parametrize("name", OPTIONS)
def test_a_stack_is_rendered_as_before(name: str) -> None:
    assert set(stacks.read(SHIPPED / name).options) == set(OPTIONS[name])
    before = (GOLDEN / f"{name}.sh").read_text(encoding="utf-8")
    same = told(name) == before
    assert same, f"{name}: another setup.sh than tests/golden/{name}.sh; if that is right, run with {REWRITE}=1"


@pytest.mark.parametrize("name", OPTIONS)
def test_what_is_rendered_has_no_faults_that_shellcheck_knows(name: str, tmp_path: Path) -> None:
    file = tmp_path / "setup.sh"
    file.write_text(rendered(name), encoding="utf-8")
    for command in (["/bin/bash", "-n"], [f"{sys.prefix}/bin/shellcheck", "--shell=bash"]):
        done = subprocess.run([*command, str(file)], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
