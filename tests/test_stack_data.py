"""The stacks as data: what the shipped ones must have, what a bad file says, and whose wins."""

from __future__ import annotations

import ast
import os
import re
import runpy
import struct
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from htcmagic.errors import StackError
from htcmagic.kernels import releases
from htcmagic.kernels import stack as stacks

CHECKOUT = Path(__file__).parents[1]
SHIPPED = CHECKOUT / "kernelspecs"
NAMES = sorted(file.parent.name for file in SHIPPED.glob("*/stack.toml"))


def own(base: Path, toml: str, setup: str = ":", name: str = "mine") -> Path:
    folder = base / "htcmagic/kernelspecs" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "stack.toml").write_text(toml)
    (folder / "setup.sh").write_text(setup)
    return folder


def test_all_wanted_stacks_are_there() -> None:
    wanted = "atlas belle2 cms lhcb alice lcg key4hep icecube dune fermilab igwn lsst eessi computecanada"
    assert sorted([*wanted.split(), "osg-modules", "lmod", "eic", "sphenix"]) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_stack_says_what_it_is(name: str) -> None:
    stack = stacks.read(SHIPPED / name)
    assert stack.title
    assert stack.about
    assert stack.status
    assert stack.sources
    assert all(re.match(r"https://[\w.-]+/", one) for one in stack.sources)
    assert all(option.about for option in stack.options.values())
    assert all(option.default != "latest" or option.listed for option in stack.options.values())
    assert stack.markers or stack.python_under or "htc_markers=" in stack.setup or "htc_refuse" in stack.setup
    used = set(
        re.findall(r"\$\{?htc_(\w+)", "\n".join([stack.setup, stack.image, *stack.entries, *stack.python_under]))
    )
    assert used <= {*stack.options, "markers", "under", "exec", "module_homes", "modulepath"}
    assert set(stack.options) <= used


@pytest.mark.parametrize("name", NAMES)
def test_a_set_up_can_be_pasted_into_a_script(name: str) -> None:
    text = (SHIPPED / name / "setup.sh").read_text()
    assert not re.search(r"^\s*(return|exit|exec)\b", text, re.MULTILINE)
    assert not re.search(r"\bset -|\$[@*1-9]", text)
    assert subprocess.run(["/bin/bash", "-n"], input=text, text=True, check=False).returncode == 0


@pytest.mark.parametrize("name", NAMES)
def test_a_stack_has_logos(name: str) -> None:
    for size in (32, 64):
        data = (SHIPPED / name / f"logo-{size}x{size}.png").read_bytes()
        assert data[:8] == b"\x89PNG\r\n\x1a\n"
        assert struct.unpack(">II", data[16:24]) == (size, size)
    assert ET.parse(SHIPPED / name / "logo-svg.svg").getroot().tag.endswith("svg")  # noqa: S314 - our own file


def test_no_two_logos_are_the_same() -> None:
    assert len({(SHIPPED / name / "logo-64x64.png").read_bytes() for name in NAMES}) == len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_what_verifies_a_stack_tells_in_one_line_what_is_missing(name: str) -> None:
    file = SHIPPED / name / "verify.py"
    ast.parse(file.read_text(), feature_version=(3, 6))
    bare = [sys.executable, "-I", "-S", str(file)]
    done = subprocess.run(bare, capture_output=True, text=True, env={"PATH": os.defpath}, check=False)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(f"{stacks.read(SHIPPED / name).title}: ")


def test_the_page_is_what_the_data_say() -> None:
    page = runpy.run_path(str(CHECKOUT / "docs/make_stacks.py"))["page"]()
    same = (CHECKOUT / "docs/stacks.md").read_text(encoding="utf-8") == page
    assert same, "run: python docs/make_stacks.py"
    assert all(f"\n## {name}\n" in page for name in NAMES)


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("title = ", "stack.toml cannot be used"),
        ("about = 'x'", "title is missing"),
        ("title = 'x'\nrepositorys = []", "unknown key 'repositorys'.\nDid you mean repositories?"),
        ("title = 'x'\nkind = 'magic'", "kind 'magic' is none of source, eval, exec, container"),
        ("title = 'x'\nkind = 'container'", "needs an image"),
        ("title = 7", "title must be a text"),
        ("title = 'x'\nmarkers = [7]", "markers must be a list of texts"),
        ("title = 'x'\nmarkers = ['A-B']", "'A-B' is not a variable's name"),
        ("title = 'x'\npreset = 'A'", "preset must be a table"),
        ("title = 'x'\n[preset]\n'A;B' = '1'", "'A;B' is not a variable's name"),
        ("title = 'x'\n[options]\nrelease = 'A'", r"[options.release] must be a table"),
        ("title = 'x'\n[options.release]\nfoo = 'A'", "[options.release] has an unknown key"),
        ("title = 'x'\n[options.release]\npattern = '('", "pattern is no regular expression"),
        ("title = 'x'\n[options.python]\nabout = 'A'", "an option cannot be called python"),
    ],
)
def test_a_bad_file_says_what_is_wrong(tmp_path: Path, toml: str, message: str) -> None:
    folder = own(tmp_path, toml)
    with pytest.raises(StackError) as caught:
        stacks.read(folder)
    assert message in str(caught.value)
    assert str(folder) in str(caught.value)


def test_a_stack_without_a_set_up_says_so(tmp_path: Path) -> None:
    folder = own(tmp_path, "title = 'x'")
    (folder / "setup.sh").unlink()
    with pytest.raises(StackError, match=r"setup\.sh"):
        stacks.read(folder)


def test_an_unknown_stack_names_the_nearest() -> None:
    with pytest.raises(StackError, match="Did you mean belle2") as caught:
        stacks.load("bele2")
    assert caught.value.message == "There is no stack 'bele2'."
    with pytest.raises(StackError, match="There are: alice, atlas"):
        stacks.load("../x")


@pytest.mark.parametrize("whose", ["user", "site"])
def test_a_folder_of_the_same_name_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whose: str) -> None:
    if whose == "user":
        monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path))
    else:
        monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    mine = own(tmp_path, "title = 'My ATLAS'\nstatus = 'mine'", name="atlas")
    broken = own(tmp_path, "title = ", name="broken")
    (tmp_path / "htcmagic/kernelspecs/Not A Name").mkdir()
    assert stacks.load("atlas").title == "My ATLAS"
    known = {one.name: one for one in releases.catalogue(look=False)}
    assert known["atlas"].folder == mine
    assert [one.resolve() for one in known["atlas"].shadowed] == [SHIPPED / "atlas"]
    assert known["belle2"].shadowed == ()
    assert known["broken"].folder == broken
    assert "cannot be used" in known["broken"].problem
    assert "Not A Name" not in known


def test_ours_come_last_even_if_a_path_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "first/htcmagic").mkdir(parents=True)
    (tmp_path / "first/htcmagic/kernelspecs").symlink_to(SHIPPED)
    mine = own(tmp_path / "second", "title = 'My LCG'", name="lcg")
    monkeypatch.setenv("JUPYTER_PATH", f"{tmp_path}/first{os.pathsep}{tmp_path}/second")
    assert stacks.folders()["lcg"] == mine
    assert stacks.SITE in stacks.search_path()


def test_variables_are_filled_in_with_options() -> None:
    text = "/cvmfs/x:$htc_release/${htc_platform}-$HOME-$htc_none"
    assert stacks.expanded(text, {"release": "a$b", "platform": "p"}) == "/cvmfs/x:a$b/p-$HOME-"
    assert stacks.read(SHIPPED / "eic").image_repository == "singularity.opensciencegrid.org"
