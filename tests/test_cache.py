"""Results kept under keys, shared by sessions; what ``%condor_cache`` tells of them and clears."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import textwrap
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from htcmagic.functions import cache, memo
from htcmagic.functions.remote import records
from htcmagic.functions.remote.records import Record
from htcmagic.functions.results import Outcome


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let each test see its own warnings, and nothing but those it asks for."""
    monkeypatch.setattr(memo, "_warned", set())
    with warnings.catch_warnings():
        warnings.simplefilter("error", memo.CacheWarning)
        yield


def result(folder: Path, value: Any = 42, *, ok: bool = True, file: bytes = b"") -> Record:
    """Return the record of a result as jobs write them; the second of its file."""
    path = folder / "results"
    parts: list[records.Part] = [("value", pickle.dumps(value)), *([("file:fit.txt", file)] if file else [])]
    header = {"id": 7, "ok": ok, "python": "3", "host": "h", "job": "1.0", "started": 1.0, "seconds": 2.5}
    records.save(path, [({"id": 1}, [("value", b"xxx")]), (header, parts)])
    return list(records.scan(path))[1]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HTCMAGIC_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def call_of(name: str) -> Callable[..., Any]:
    """Return a function of this name."""

    def call(*args: Any) -> Any:
        return args

    call.__name__ = name
    return call


def kept(tmp_path: Path, name: str = "simulate", value: Any = 42, **more: Any) -> memo.Key:
    """Keep a result; its key."""
    found = memo.key(call_of(name), (value, name), {})
    assert found is not None
    memo.put(found, result(tmp_path, value, **more))
    return found


def test_a_result_is_found_again(home: Path, tmp_path: Path) -> None:
    call = call_of("simulate")
    found = memo.key(call, (1,), {})
    assert found is not None
    assert memo.get(found) is None
    memo.put(found, result(tmp_path, file=b"fitted"))
    again = memo.get(str(found))
    assert again is not None
    outcome = Outcome(again, tmp_path / "files")
    assert outcome.value() == 42
    assert outcome.files()["fit.txt"].read_bytes() == b"fitted"
    assert outcome.seconds == 2.5
    assert again.header["function"] == "simulate"
    (file,) = (home / "cache").glob("??/*")
    assert file.stat().st_mode & 0o777 == 0o600
    assert {one.stat().st_mode & 0o777 for one in (file.parent, home / "cache")} == {0o700}


def test_what_was_found_stays_when_the_cache_is_cleared(home: Path, tmp_path: Path) -> None:
    found = kept(tmp_path)
    mine = memo.get(found, tmp_path / "run")
    assert memo.get(found, tmp_path / "run") is not None
    assert mine is not None
    cache.clear(cache.entries())
    assert memo.get(found) is None
    assert Outcome(mine, tmp_path).value() == 42


def test_failures_are_not_kept(home: Path, tmp_path: Path) -> None:
    memo.put("ab" * 20, result(tmp_path, ok=False))
    assert memo.get("ab" * 20) is None


@pytest.mark.parametrize("damage", [b"", b"{", b"[1]\n", b"{}\n", b'{"parts":[["value",9]],"key":"x"}\nabc', b"\xff\n"])
def test_a_damaged_result_is_none_and_is_replaced(home: Path, tmp_path: Path, damage: bytes) -> None:
    found = "cd" * 20
    memo.put(found, result(tmp_path))
    (file,) = (home / "cache").glob("??/*")
    file.write_bytes(damage)
    assert memo.get(found) is None
    assert [one.function for one in cache.entries()] == [cache.NAMELESS]
    memo.put(found, result(tmp_path))
    assert memo.get(found) is not None


def test_a_result_under_another_key_is_none(home: Path, tmp_path: Path) -> None:
    memo.put("ab" * 20, result(tmp_path))
    (home / "cache/ab" / ("ab" * 20)).rename(home / "cache/ab" / ("ab" + "cd" * 19))
    assert memo.get("ab" + "cd" * 19) is None


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_a_result_of_somebody_else_is_not_read(home: Path, tmp_path: Path) -> None:
    memo.put("ab" * 20, result(tmp_path))
    os.chown(home / "cache/ab" / ("ab" * 20), 65534, 65534)
    with pytest.warns(memo.CacheWarning, match="belongs to another user"):
        assert memo.get("ab" * 20) is None


def test_a_link_is_not_followed(home: Path, tmp_path: Path) -> None:
    memo.put("ab" * 20, result(tmp_path))
    real = home / "cache/ab" / ("ab" * 20)
    real.rename(tmp_path / "elsewhere")
    real.symlink_to(tmp_path / "elsewhere")
    assert memo.get("ab" * 20) is None


def test_where_nothing_can_be_kept_nothing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HTCMAGIC_HOME", str(tmp_path / "file"))
    with pytest.warns(memo.CacheWarning, match="Results are not kept"):
        memo.put("ab" * 20, result(tmp_path))
    memo.put("ab" * 20, result(tmp_path))
    assert memo.get("ab" * 20) is None


def test_writers_and_readers_at_once(home: Path, tmp_path: Path) -> None:
    """Several processes keep and find the same result; nobody sees half of one."""
    program = textwrap.dedent(
        """
        import sys, pathlib; sys.path.insert(0, 'tests')
        import test_cache
        from htcmagic.functions import memo
        folder = pathlib.Path(sys.argv[1]); folder.mkdir()
        for n in range(50):
            record = memo.get("ab" * 20)
            if record: assert len(test_cache.Outcome(record, folder).value()) == 300_000
            memo.put("ab" * 20, test_cache.result(folder, "x" * 300_000))
        """
    )
    running = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path / str(n))], cwd=Path(__file__).parents[1])
        for n in range(3)
    ]
    assert [one.wait(60) for one in running] == [0, 0, 0]
    assert len(list((home / "cache/ab").iterdir())) == 1


@pytest.fixture
def magic(home: Path) -> Callable[[str], Any]:
    """Run %condor_cache."""
    from htcmagic.magics.cache import CacheMagics

    run: Callable[[str], Any] = CacheMagics(None).condor_cache
    return run


def test_the_list(home: Path, tmp_path: Path, magic: Callable[[str], Any]) -> None:
    assert str(magic("")) == "No results are kept. Functions with cache=True keep theirs."
    for number in range(3):
        found = kept(tmp_path, value=number)
    kept(tmp_path, "fit", "x" * 5_000_000)
    memo.get(found)
    memo.get(found)
    shown = magic("")
    lines = str(shown).splitlines()
    assert lines[0].split() == ["FUNCTION", "RESULTS", "SIZE", "HITS", "LAST_USED", "TOOK"]
    assert lines[1].split()[:5] == ["fit", "1", "5.0", "MB", "0"]
    assert lines[2].split()[:2] == ["simulate", "3"]
    assert lines[2].split()[4] == "2"
    assert lines[2].endswith("7 s")
    assert lines[-1].startswith("4 results, 5.0 MB, in ")
    assert [row["HITS"] for row in shown] == [0, 2]
    assert list(shown.to_dataframe()["SIZE"]) == ["5.0 MB", "2 kB"]
    assert shown.to_dicts()[0]["BYTES"] > 5_000_000
    assert len(magic("simulate")) == 1


def test_foreign_names_are_harmless_in_the_list(home: Path, tmp_path: Path, magic: Callable[[str], Any]) -> None:
    kept(tmp_path, "<script>\x1b[31m")
    shown = magic("")
    assert "<script>" not in shown._repr_html_()
    assert "\x1b" not in str(shown)


def test_clearing(home: Path, tmp_path: Path, magic: Callable[[str], Any], capsys: pytest.CaptureFixture[str]) -> None:
    first = kept(tmp_path, value=1)
    other = kept(tmp_path, "fit", 2)
    memo.get(first)
    magic("--clear simulate")
    assert capsys.readouterr().out.startswith("1 result deleted, ")
    assert memo.get(first) is None
    assert memo.get(other) is not None
    kept(tmp_path, value=1)
    assert {row["FUNCTION"]: row["HITS"] for row in magic("")} == {"simulate": 0, "fit": 1}
    with pytest.raises(Exception, match="Nothing done yet: 2 results would be deleted") as refused:
        magic("--clear all")
    assert "If you mean that: %condor_cache --clear all --yes" in str(refused.value)
    magic("--clear all --yes")
    assert len(magic("")) == 0
    magic("--clear all --yes")
    assert capsys.readouterr().out.endswith("There is nothing to delete.\n")
    assert list((home / "cache").glob("??")) == []


def test_clearing_what_is_old(home: Path, tmp_path: Path, magic: Callable[[str], Any]) -> None:
    old, new, used = (kept(tmp_path, value=value) for value in (1, 2, 3))
    for one in (old, used):
        os.utime(home / "cache" / one[:2] / one, (time.time() - 40 * 86400,) * 2)
    memo.get(used)
    magic("--clear all --older 30d")
    assert [memo.get(one) is not None for one in (old, new, used)] == [False, True, True]


def test_slips_are_told(home: Path, tmp_path: Path, magic: Callable[[str], Any]) -> None:
    kept(tmp_path)
    with pytest.raises(Exception, match="No results of simulat are kept") as unknown:
        magic("simulat")
    assert "There are results of simulate." in str(unknown.value)
    with pytest.raises(Exception, match="not an age"):
        magic("--clear all --older soon")
    with pytest.raises(Exception, match="--yes goes with --clear"):
        magic("--yes")
