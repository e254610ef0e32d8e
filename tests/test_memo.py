"""Keys of calls: the same when the same would be computed, in every session."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from memokinds import KINDS, cells

from htcmagic.functions import memo


def key(*sources: str, args: tuple[Any, ...] = (1,), kwargs: dict[str, Any] | None = None) -> str:
    """Return the key of a call of f."""
    found = memo.key(cells(*sources), args, kwargs or {})
    assert found is not None
    return found


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let each test see its own warnings, and nothing but those it asks for."""
    monkeypatch.setattr(memo, "_warned", set())
    with warnings.catch_warnings():
        warnings.simplefilter("error", memo.CacheWarning)
        yield


@pytest.mark.parametrize("kind", KINDS)
def test_running_a_cell_again_changes_no_key(kind: str) -> None:
    lower = "# a comment\n\n\n" + textwrap.dedent(KINDS[kind]).replace("\n", "  # and one more\n\n")
    assert key(KINDS[kind]) == key(KINDS[kind]) == key(lower)


def test_other_sessions_find_the_same_keys() -> None:
    program = "import sys; sys.path.insert(0, 'tests'); import test_memo; print(test_memo.all_keys())"
    told = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=Path(__file__).parents[1],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert told == {f"{all_keys()}\n"}


def all_keys() -> list[str]:
    """Return the keys of every kind of function, and of arguments of many kinds."""
    given = ({"a", "b", ("c", "d"), None}, np.arange(5), {"b": 1, "a": {2, "x"}}, [1.5, 2] * 100, pd.Series([1, 2]))
    return [*(key(source) for source in KINDS.values()), key("def f(*a, **k): ...", args=given, kwargs={"z": {"y", 3}})]


BASE = """
    LIMIT = 3
    UNUSED = 1
    def helper(x): return x + LIMIT
    class Model:
        size = 2
        def fit(self, x): return helper(x)
    def f(x, y=1):
        '''Fit.'''
        return Model().fit(x) + y
    """


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("LIMIT = 3", "LIMIT = 4"),
        ("x + LIMIT", "x - LIMIT"),
        ("size = 2", "size = 3"),
        ("y=1", "y=2"),
        ("fit(x) + y", "fit(x) + y + 0"),
        ("def fit(self, x)", "def fit(self, x, z=0)"),
    ],
)
def test_what_is_computed_with_is_part_of_the_key(old: str, new: str) -> None:
    assert old in BASE
    assert key(BASE) != key(BASE.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("UNUSED = 1", "UNUSED = 2"),
        ("Fit.", "Fit the model."),
        ("(x, y=1)", "(x: int, y: 'float' = 1) -> float"),
        ("        return Model", "        # so\n        return Model"),
        ("UNUSED = 1", "size = fit = Model = None"),
        ("'''Fit.'''", ""),
    ],
)
def test_what_is_not_computed_with_is_not(old: str, new: str) -> None:
    assert old in BASE
    assert key(BASE) == key(BASE.replace(old, new))


def test_a_docstring_that_is_used_counts() -> None:
    assert key("def f(x):\n    'a'\n    return 'a'") != key("def f(x):\n    'b'\n    return 'b'")
    assert key("def f(x): return 'a'") != key("def f(x): return 'b'")
    assert key("f = lambda x: 'a'") != key("f = lambda x: 'b'")


def test_a_function_that_ran_often_has_the_same_key() -> None:
    call = cells(BASE)
    before = memo.key(call, (1,), {})
    for number in range(3000):  # the interpreter rewrites its bytecode meanwhile
        call(number)
    assert memo.key(call, (1,), {}) == before


def test_the_name_is_no_part_of_the_key() -> None:
    renamed = memo.key(cells("def g(x): return x + 1", name="g"), (1,), {})
    assert renamed == key("def f(x): return x + 1")
    assert isinstance(renamed, memo.Key)
    assert renamed.label == "g"


def test_closures_and_what_is_bound_are_part_of_the_key() -> None:
    make = "def make(n):\n    def inner(x): return x + n\n    return inner\nf = make({})"
    assert key(make.format(4)) != key(make.format(5))
    part = "import functools\ndef g(a, b): return a + b\nf = functools.partial(g, b={})"
    assert key(part.format(4)) != key(part.format(5))
    bound = "class A:\n    def __init__(self, v): self.v = v\n    def m(self, x): return self.v\nf = A({}).m"
    assert key(bound.format(4)) != key(bound.format(5))


def test_structures_with_rings_are_told_apart() -> None:
    ring = "a, b, x, y = [1], [2], [], []\na.append(x); x.append(a); b.append({0}); y.append(b)\ndef f(n): return a, b"
    assert key(ring.format("x")) != key(ring.format("y"))


def test_arguments_are_told_apart_by_value_and_type() -> None:
    values = [
        1,
        1.0,
        True,
        "1",
        b"1",
        None,
        (1,),
        [1],
        {1},
        frozenset({1}),
        {1: 1},
        np.int64(1),
        np.array([1]),
        -0.0,
        0.0,
    ]
    values += [
        np.array([1.0]),
        np.array([[1]]),
        pd.Series([1]),
        pd.Series([1.0]),
        range(1),
        bytearray(b"1"),
        [[1]],
        [(1,)],
    ]
    keys = [key("def f(x): return x", args=(value,)) for value in values]
    assert len(set(keys)) == len(values)


def test_the_same_call_written_otherwise_has_the_same_key() -> None:
    source = "def f(x, y=1, **more): return x"
    assert key(source, args=(1, 2)) == key(source, args=(), kwargs={"y": 2, "x": 1}) == key(source, kwargs={"y": 2})
    assert key(source, args=(2, 1)) != key(source, args=(1, 2))
    assert key(source, kwargs={"a": 1, "b": 2}) == key(source, kwargs={"b": 2, "a": 1})
    assert key(source, kwargs={"a": 1, "b": 2}) != key(source, kwargs={"b": 1, "a": 2})


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.complex_numbers()

VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(), inner)
        | st.sets(st.text() | st.integers())
        | st.frozensets(st.tuples(st.text(), st.integers()))
    ),
)

CALL = cells("def f(x): return x")


@given(VALUES)
def test_values_that_have_travelled_are_the_same(value: Any) -> None:
    """A copy has other objects, in other places, and sets that were filled in another order."""
    assert memo.key(CALL, (pickle.loads(pickle.dumps(value)),), {}) == memo.key(CALL, (value,), {})  # noqa: S301 - ours


@given(VALUES, VALUES)
def test_values_that_differ_have_different_keys(one: Any, other: Any) -> None:
    assume(repr(one) != repr(other) and one != other)
    assert memo.key(CALL, (one,), {}) != memo.key(CALL, (other,), {})


def test_layout_in_memory_does_not_matter() -> None:
    whole = np.arange(12.0).reshape(3, 4)
    source = "def f(x): return x"
    assert key(source, args=(whole,)) == key(source, args=(np.asfortranarray(whole),))
    assert key(source, args=(whole[:, ::2],)) == key(source, args=(whole[:, ::2].copy(),))
    word = str(b"ab", "ascii")  # another object than the constant
    assert key(source, args=([word, word],)) == key(source, args=([word, "ab"],))


def test_modules_of_ones_own_count_by_what_is_in_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    helper, deeper = tmp_path / "own_helper.py", tmp_path / "own_deeper.py"
    helper.write_text("import own_deeper\ndef g(x): return own_deeper.h(x)\n")
    deeper.write_text("def h(x): return x\n")
    source = "import own_helper\ndef f(x): return own_helper.g(x)"
    inside = "def f(x):\n    from own_helper import g\n    return g(x)"
    named = "from own_helper import g\nf = g"
    before = [key(one) for one in (source, inside, named)]
    assert before == [key(one) for one in (source, inside, named)]
    deeper.write_text("def h(x): return x + 1\n")
    after = [key(one) for one in (source, inside, named)]
    assert not set(before) & set(after)


def test_what_such_modules_make_counts_with_what_it_uses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_maker.py").write_text("LIMIT = 1\ndef make(n):\n    return lambda x: x * n + LIMIT\n")
    source = "import own_maker\nown_maker.LIMIT = {}\nf = own_maker.make({})"
    assert len({key(source.format(limit, n)) for limit in (1, 2) for n in (3, 4)}) == 4
    assert key(source.format(1, 3)) == key(source.format(1, 3))


def test_installed_versions_are_part_of_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "site-packages"
    site.mkdir()
    (site / "own_package.py").write_text("def g(x): return x\n")
    monkeypatch.syspath_prepend(site)

    def install(version: str) -> None:
        for old in site.glob("*.dist-info"):
            (old / "METADATA").unlink()
            old.rmdir()
        info = site / f"own_package-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: own-package\nVersion: {version}\n")

    source = "import own_package\ndef f(x): return own_package.g(x)"
    install("1.0")
    first = key(source)
    (site / "own_package.py").write_text("def g(x): return x  # touched\n")
    assert key(source) == first
    install("1.1")
    assert key(source) != first


def test_the_place_is_part_of_the_key() -> None:
    call = cells("def f(x): return x")
    assert memo.key(call, (1,), {}) != memo.key(call, (1,), {}, environment="image x")


@pytest.mark.parametrize(
    ("source", "argument", "said"),
    [
        (
            "def f(x): return x",
            threading.Lock(),
            "x, which it is given, cannot be recognised in another session (lock: ",
        ),
        ("def f(x): return x", (i for i in range(3)), "x, which it is given"),
        ("import threading\nL = threading.Lock()\ndef g(): return L\ndef f(x): return g()", 1, "g → L, which it uses"),
    ],
)
def test_what_has_no_key_is_warned_of_once(source: str, argument: Any, said: str) -> None:
    call = cells(source)
    with pytest.warns(memo.CacheWarning, match="f is not cached: ") as seen:
        assert memo.key(call, (argument,), {}) is None
    assert said in str(seen[0].message)
    assert seen[0].filename == __file__
    assert memo.key(call, (argument,), {}) is None  # and no second warning, which would be an error here


def test_what_is_different_each_time_has_no_key() -> None:
    class Restless:
        def __reduce__(self) -> tuple[Any, ...]:
            return Restless, (time.monotonic_ns(),)

    with pytest.warns(memo.CacheWarning, match="something else of itself each time"):
        assert memo.key(cells("def f(x): return x"), (Restless(),), {}) is None


def test_too_deep_is_no_failure() -> None:
    deep: list[Any] = []
    for _ in range(20_000):
        deep = [deep, None, ()]
    with pytest.warns(memo.CacheWarning, match="holds too much of itself"):
        assert memo.key(cells("def f(x): return x"), (deep,), {}) is None


def test_paths_are_noted() -> None:
    call = cells("def f(x): return x")
    with pytest.warns(memo.CacheWarning, match="by the names of the files that it is given, not by what is in them"):
        first = memo.key(call, (Path("a"),), {})
    assert first == memo.key(call, (Path("a"),), {})
    assert first != memo.key(call, (Path("b"),), {})
