"""Where things are kept: short, local, ours alone."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from htcmagic import places
from htcmagic.errors import HTCMagicError

GOOD = "/home/ada/htcmagic"


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"HTCMAGIC_HOME": "/x/y", "XDG_DATA_HOME": "/data"}, "/x/y"),
        ({"HTCMAGIC_HOME": "~/y", "HOME": "/home/ada"}, "/home/ada/y"),
        ({"HTCMAGIC_HOME": "", "XDG_DATA_HOME": "/data", "HOME": "/home/ada"}, "/data/htcmagic"),
        ({"HTCMAGIC_HOME": "", "XDG_DATA_HOME": "", "HOME": "/home/ada"}, "/home/ada/.local/share/htcmagic"),
    ],
)
def test_the_home_is_named_or_the_usual_one(monkeypatch, variables, expected):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert places.home() == Path(expected)


def test_a_relative_home_is_made_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HTCMAGIC_HOME", "here")
    assert places.home() == tmp_path / "here"


def test_programs_may_be_elsewhere(monkeypatch):
    monkeypatch.setenv("HTCMAGIC_HOME", GOOD)
    monkeypatch.setenv("HTCMAGIC_PROGRAMS", "/opt/programs")
    assert places.programs_dir() == Path("/opt/programs")
    monkeypatch.delenv("HTCMAGIC_PROGRAMS")
    assert places.programs_dir() == Path(GOOD, "programs")


def test_a_good_home_holds_the_pool(monkeypatch):
    monkeypatch.setenv("HTCMAGIC_HOME", GOOD)
    assert places.pool_dir() == Path(GOOD, "pool")
    assert places.log_dir() == places.runs_dir() == Path(GOOD, "runs")


@pytest.mark.parametrize("home", ["/home/" + "a" * 120, "/home/ada lovelace", "/home/ädä/$x", "/tmp/x", '/home/"'])
def test_an_awkward_one_does_not(monkeypatch, home):
    monkeypatch.setenv("HTCMAGIC_HOME", home)
    pool = places.pool_dir()
    assert pool.is_relative_to("/var/tmp")
    assert pool.name == "pool"
    assert f"-{os.getuid()}-" in pool.parent.name
    assert len(os.fsencode(pool)) <= places.LONGEST_POOL_PATH
    assert pool == places.pool_dir()
    monkeypatch.setenv("HTCMAGIC_HOME", f"{home}2")
    assert places.pool_dir() != pool


def test_a_home_of_just_the_longest_length(monkeypatch):
    monkeypatch.setenv("HTCMAGIC_HOME", "/" + "a" * (places.LONGEST_POOL_PATH - len("//pool")))
    assert places.pool_dir() == places.home() / "pool"
    monkeypatch.setenv("HTCMAGIC_HOME", os.environ["HTCMAGIC_HOME"] + "a")
    assert places.pool_dir().is_relative_to("/var/tmp")


def test_file_systems_are_told():
    assert places.file_system(Path("/proc/self")) == "proc"
    assert places.file_system(Path("/dev/shm/not/there")) == "tmpfs"
    assert places.file_system(Path("/")) not in {"", "proc"}


def test_private_folders_are_made_and_closed(tmp_path):
    folder = places.private(tmp_path / "a" / "b")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.chmod(0o755)
    assert stat.S_IMODE(places.private(folder).stat().st_mode) == 0o700


def test_a_link_of_our_own_is_fine(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert places.private(tmp_path / "link") == tmp_path / "link"
    assert stat.S_IMODE((tmp_path / "real").stat().st_mode) == 0o700


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to give a folder away")
@pytest.mark.parametrize("what", ["folder", "link", "target"])
def test_what_belongs_to_somebody_else_is_not_used(tmp_path, what):
    wanted = tmp_path / "wanted"
    if what == "folder":
        wanted.mkdir()
        os.chown(wanted, 1000, 1000)
    else:
        (tmp_path / "real").mkdir()
        wanted.symlink_to(tmp_path / "real")
        os.chown(wanted if what == "link" else tmp_path / "real", 1000, 1000, follow_symlinks=False)
    with pytest.raises(HTCMagicError, match="belongs to somebody else"):
        places.private(wanted)


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(HTCMagicError) as told:
            places.private(path)
        assert str(tmp_path / "file") in told.value.message
        assert "HTCMAGIC_HOME" in told.value.hint
