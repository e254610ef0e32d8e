"""Which releases there are and what is chosen: on real files, with /cvmfs in a namespace where that matters."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from cvmfs import namespace

from htcmagic.errors import StackError
from htcmagic.kernels import mounts, releases, systems, wrapper
from htcmagic.kernels.stack import Option, Stack, read
from htcmagic.kernels.systems import Machine

SHIPPED = Path(__file__).parents[1] / "kernelspecs"
EL9 = Machine("x86_64", "el9", (2, 34))
DEBIAN = Machine("x86_64", "debian12", (2, 36))
UBUNTU20 = Machine("x86_64", "ubuntu20", (2, 31))
VIEWS = {
    "LCG_104": ("x86_64-centos7-gcc11-opt", "x86_64-el9-gcc11-opt"),
    "LCG_105": ("x86_64-el9-gcc12-opt", "x86_64-el9-gcc12-dbg", "x86_64-el9-clang16-opt", "aarch64-el9-gcc12-opt"),
    "LCG_105a": (
        "x86_64-el9-gcc9-opt",
        "x86_64-el9-gcc13-opt",
        "x86_64-el9-clang19-opt",
        "x86_64-ubuntu2204-gcc11-opt",
    ),
    "LCG_106_cuda": ("x86_64-el9-gcc11-opt",),
    "LCG_110": ("x86_64-ubuntu2404-gcc13-opt",),
}


@pytest.fixture
def views(tmp_path: Path) -> Stack:
    """Make a stack like lcg, of a folder of ours."""
    for release, platforms in VIEWS.items():
        for platform in platforms:
            (tmp_path / "views" / release / platform).mkdir(parents=True)
    top = f"{tmp_path}/views"
    listed = (f"{top}/*/{{arch}}-{{os}}-*-opt", f"{top}/*/{{arch}}-*-opt", f"{top}/*/{{arch}}-*")
    release = Option(
        "release", "a view", "latest", required=True, listed=listed, pattern="views/([^/]+)/", latest=r"LCG_\d+[a-z]?"
    )
    platform = Option(
        "platform",
        "its platform",
        "latest",
        required=True,
        listed=(f"{top}/{{release}}/{{arch}}-*",),
        latest=r".*-gcc\d+-opt",
    )
    return Stack("views", "Views", tmp_path, options={"release": release, "platform": platform})


def test_the_newest_for_this_system_is_taken(views: Stack) -> None:
    assert releases.resolve(views, {}, machine=EL9) == {"release": "LCG_105a", "platform": "x86_64-el9-gcc13-opt"}
    assert releases.resolve(views, {"release": "LCG_105"}, machine=EL9)["platform"] == "x86_64-el9-gcc12-opt"
    assert releases.resolve(views, {"release": "latest", "platform": "latest"}, machine=EL9)["release"] == "LCG_105a"
    old = Machine("x86_64", "el7", (2, 17))
    assert releases.resolve(views, {}, machine=old) == {"release": "LCG_104", "platform": "x86_64-centos7-gcc11-opt"}
    arm = Machine("aarch64", "el9", (2, 34))
    assert releases.resolve(views, {}, machine=arm) == {"release": "LCG_105", "platform": "aarch64-el9-gcc12-opt"}


def test_a_system_without_its_own_platform_gets_what_its_c_library_can_run(views: Stack) -> None:
    chosen = releases.resolve(views, {"release": "LCG_105a"}, machine=DEBIAN)
    assert chosen["platform"] == "x86_64-ubuntu2204-gcc11-opt"
    assert "built for ubuntu22, and this machine is debian12" in releases.notes(chosen, machine=DEBIAN)[0]
    assert releases.notes({"platform": "x86_64-el9-gcc13-opt"}, machine=EL9) == []
    assert releases.resolve(views, {"release": "LCG_104"}, machine=UBUNTU20)["platform"] == "x86_64-centos7-gcc11-opt"
    with pytest.raises(StackError, match="Views LCG_105 is not built for x86_64, ubuntu20") as caught:
        releases.resolve(views, {"release": "LCG_105"}, machine=UBUNTU20)
    assert "--container" in caught.value.hint
    named = releases.resolve(views, {"release": "LCG_105", "platform": "x86_64-el9-gcc12-opt"}, machine=UBUNTU20)
    assert named["platform"] == "x86_64-el9-gcc12-opt"
    inside = releases.resolve(views, {"release": "LCG_105a"}, machine=UBUNTU20, inside=True)
    assert inside["platform"] == "x86_64-el9-gcc13-opt"


def test_what_there_is_comes_newest_first(views: Stack) -> None:
    assert releases.releases(views, machine=EL9) == ["LCG_110", "LCG_106_cuda", "LCG_105a", "LCG_105", "LCG_104"]
    platforms = releases.releases(views, {"release": "LCG_105a"}, option="platform", machine=EL9)
    assert platforms[:3] == ["x86_64-ubuntu2204-gcc11-opt", "x86_64-el9-gcc13-opt", "x86_64-el9-gcc9-opt"]
    with pytest.raises(StackError, match="no option 'version'"):
        releases.releases(views, option="version")


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("LCG_99", "LCG_107"),
        ("LCG_107", "LCG_107a"),
        ("25.2.9", "25.2.15"),
        ("CMSSW_14_1_0_pre3", "CMSSW_14_1_0"),
        ("CMSSW_14_0_9", "CMSSW_14_1_0_pre3"),
        ("1.0rc1", "1.0"),
        ("w_2024_52", "w_2025_01"),
        ("2024-10-03", "2025-05-29"),
        ("v9_91_02d00", "v10_26_00d00"),
    ],
)
def test_versions_are_ordered_as_people_do(tmp_path: Path, older: str, newer: str) -> None:
    for name in (newer, older):
        (tmp_path / name).touch()
    stack = Stack("x", "X", tmp_path, options={"release": Option("release", listed=(f"{tmp_path}/*",))})
    assert releases.releases(stack) == [newer, older]


def test_an_unknown_release_names_the_nearest_and_what_there_is(views: Stack) -> None:
    with pytest.raises(StackError) as caught:
        releases.resolve(views, {"release": "LCG_105b"}, machine=EL9)
    assert caught.value.message == "Views's release 'LCG_105b' is not in its repository."
    assert caught.value.hint.startswith("Did you mean LCG_105")
    assert caught.value.hint.endswith("There is: LCG_110, LCG_106_cuda, LCG_105a, LCG_105, LCG_104")


def test_an_unknown_option_names_the_nearest(views: Stack) -> None:
    with pytest.raises(StackError, match=r"Did you mean release\? It has: release, platform"):
        releases.resolve(views, {"rel": "LCG_105"})
    with pytest.raises(StackError, match="cannot be"):
        releases.resolve(views, {"release": "a\nb"})


def test_hostile_values_are_taken_for_what_they_are(views: Stack) -> None:
    for value in ("*", "../views/LCG_105", "LCG_10[45]", "; rm -rf /", "$(id)"):
        with pytest.raises(StackError, match="is not in its repository"):
            releases.resolve(views, {"release": value}, machine=EL9)


def test_what_is_not_listed_may_be_right(tmp_path: Path) -> None:
    (tmp_path / "LCG_1").touch()
    option = Option("release", listed=(f"{tmp_path}/*",), unlisted="(?!LCG_).+")
    stack = Stack("x", "X", tmp_path, options={"release": option})
    assert releases.resolve(stack, {"release": "AnalysisBase,25.2.15"})["release"] == "AnalysisBase,25.2.15"
    with pytest.raises(StackError, match="not in its repository"):
        releases.resolve(stack, {"release": "LCG_2"})


def test_required_options_must_be_named(tmp_path: Path) -> None:
    option = Option("modules", "modules to load", required=True)
    stack = Stack("x", "X", tmp_path, options={"modules": option})
    with pytest.raises(StackError, match="X's modules must be named") as caught:
        releases.resolve(stack, {})
    assert caught.value.hint == "Add --option modules=NAME."


def test_a_system_that_the_set_up_refuses_is_told_of_images() -> None:
    with pytest.raises(StackError, match="this machine is debian12") as caught:
        releases.resolve(read(SHIPPED / "key4hep"), {}, machine=DEBIAN)
    assert "--container" in caught.value.hint


def test_nobody_waits_for_a_file_system_that_does_not_answer(views: Stack) -> None:
    began = time.monotonic()
    for look in (
        lambda: releases.releases(views, within_s=0.001, machine=EL9),
        lambda: releases.resolve(views, {}, 0.001, machine=EL9),
        lambda: mounts.missing(read(SHIPPED / "lcg"), 0.001),
        lambda: mounts.absent(read(SHIPPED / "belle2"), {}, 0.001),
    ):
        with pytest.raises(StackError, match=r"does not answer within 0\.001 s"):
            look()
    assert {one.mounted for one in releases.catalogue(0.001) if one.repositories} == {None}
    assert time.monotonic() - began < 10
    assert children() == []


def children() -> list[str]:
    file = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    pids = file.read_text().split()
    return [pid for pid in pids if b"scandir" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def there(tree: Path, code: str) -> Any:
    """Evaluate `code` where `tree` is /cvmfs."""
    program = (
        "import json, sys\nfrom htcmagic.errors import StackError\n"
        "from htcmagic.kernels import mounts, releases, stack\n"
        f"try:\n    told = {code}\n"
        "except StackError as error:\n    told = [error.message, error.hint]\nprint(json.dumps(told))"
    )
    env = {"PATH": os.defpath, "HOME": str(tree.parent), "PYTHONPATH": str(SHIPPED.parent)}
    done = namespace.inside(tree, [sys.executable, "-c", program], env=env)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_repository_that_is_not_mounted_is_named(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "cms.cern.ch").mkdir(parents=True)
    (tree / "belle.cern.ch/tools").mkdir(parents=True)
    (tree / "belle.cern.ch/el9/releases/release-08-02-05").mkdir(parents=True)
    assert there(tree, "[mounts.missing(stack.load(one)) for one in ('cms', 'lcg', 'belle2')]") == [
        ["cms.cern.ch"],
        ["sft.cern.ch"],
        [],
    ]
    assert there(tree, "{one.name: one.mounted for one in releases.catalogue()}")["belle2"] is True
    assert there(tree, "{one.name: one.mounted for one in releases.catalogue()}")["cms"] is False
    assert there(tree, "releases.resolve(stack.load('belle2'), {})") == {"release": "release-08-02-05"}
    assert there(tree, "mounts.absent(stack.load('belle2'), {})") == ["/cvmfs/belle.cern.ch/tools/b2setup"]
    given = {"release": "CMSSW_1", "platform": "el9_amd64_gcc12"}
    assert there(tree, f"releases.resolve(stack.load('cms'), {given})") == given
    message, hint = there(tree, "releases.resolve(stack.load('lcg'), {})")
    assert message == (
        "LCG's release must be named: the newest cannot be looked up, /cvmfs/sft.cern.ch is not mounted here."
    )
    assert hint == "Add --release NAME."


def test_atlas_without_views_is_alrb_alone(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "atlas.cern.ch/repo").mkdir(parents=True)
    assert there(tree, "releases.resolve(stack.load('atlas'), {})") == {"release": "", "platform": "", "tools": ""}
    (tree / "sft.cern.ch/lcg/views/LCG_107/x86_64-el9-gcc13-opt").mkdir(parents=True)
    chosen = there(tree, "releases.resolve(stack.load('atlas'), {})")
    assert (chosen["release"], chosen["platform"]) == ("LCG_107", "x86_64-el9-gcc13-opt")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("htc_mounted here.org; htc_entry /cvmfs/here.org/setup.sh /etc/passwd", "fine"),
        ("htc_mounted here.org away.org", "/cvmfs/away.org is not mounted here"),
        ("htc_mounted empty.org", "/cvmfs/empty.org is not mounted here"),
        ("htc_entry /cvmfs/away.org/a/b", "/cvmfs/away.org is not mounted here"),
        (
            "htc_entry '/cvmfs/here.org/a b'",
            "/cvmfs/here.org/a b is not there: is the release one for this platform, and not removed?",
        ),
        ("htc_mount_s=1; compgen() { sleep 5; }; htc_mounted here.org", "/cvmfs/here.org does not answer within 1 s"),
        ("htc_mount_s=1; htc_mounted slow.org", "/cvmfs/slow.org is not mounted here"),
    ],
)
def test_a_kernel_looks_whether_its_software_is_there(tmp_path: Path, words: str, said: str) -> None:
    (tmp_path / "tree/here.org").mkdir(parents=True)
    (tmp_path / "tree/here.org/setup.sh").touch()
    (tmp_path / "tree/empty.org").mkdir()
    os.mkfifo(tmp_path / "tree/slow.org")
    text = f'htc_refuse() {{ echo "$1"; exit 1; }}\n{wrapper.fragment("mounted")}\n{words}\necho fine'
    began = time.monotonic()
    done = namespace.inside(tmp_path / "tree", ["/bin/bash", "-c", text])
    assert done.stdout.strip() == said
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("text", "system"),
    [
        ("x86_64-el9-gcc13-opt", "el9"),
        ("x86_64-centos7-gcc11-opt", "el7"),
        ("slc7_amd64_gcc900", "el7"),
        ("x86_64-almalinux9-gcc14.2.0-opt", "el9"),
        ("x86_64-ubuntu2204-gcc11-opt", "ubuntu22"),
        ("RHEL_9_x86_64_v2", "el9"),
        ("Ubuntu_22.04_x86_64", "ubuntu22"),
        ("alma9.2-gcc-14.2.0", "el9"),
        ("almalinux-x86_64", ""),
        ("x86_64_v2-el9-gcc13-opt", "el9"),
    ],
)
def test_the_system_of_a_platform(text: str, system: str) -> None:
    assert systems.system_of(text) == system


@pytest.mark.parametrize(
    ("told", "system"),
    [
        ({"ID": "almalinux", "VERSION_ID": "9.4"}, "el9"),
        ({"ID": "rocky", "VERSION_ID": "8.10"}, "el8"),
        ({"ID": "scientific", "ID_LIKE": "rhel centos fedora", "VERSION_ID": "7.9"}, "el7"),
        ({"ID": "ubuntu", "ID_LIKE": "debian", "VERSION_ID": "22.04"}, "ubuntu22"),
        ({"ID": "debian", "VERSION_ID": "12"}, "debian12"),
        ({"ID": "fedora", "VERSION_ID": "41"}, "fedora41"),
        ({}, ""),
    ],
)
def test_systems_are_named_as_stacks_do(told: dict[str, str], system: str) -> None:
    assert systems._system(told) == system


def test_this_machine_is_what_its_own_tools_say() -> None:
    machine = systems.platform_of_this_machine()
    arch = subprocess.run(["uname", "-m"], capture_output=True, text=True, check=True).stdout.strip()
    assert machine.arch == arch
    assert machine.glibc >= (2, 28)
