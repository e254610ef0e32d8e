"""Python values as queue items: pure, and hostile ones through a real submission and a real job."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from htcmagic.errors import CellError
from htcmagic.jobs import items
from htcmagic.jobs.rundir import RunDir
from htcmagic.jobs.sending import send
from htcmagic.jobs.submission import Options, prepare
from htcmagic.pool.client import client


class Point(NamedTuple):
    mass: int
    width: int


@pytest.mark.parametrize(
    ("value", "columns", "rows"),
    [
        ([1, 2.5, "a"], ("Item",), [("1",), ("2.5",), ("a",)]),
        (range(2), ("Item",), [("0",), ("1",)]),
        ((n * n for n in (1, 2)), ("Item",), [("1",), ("4",)]),
        ({"only"}, ("Item",), [("only",)]),
        ([True, Path("/a b")], ("Item",), [("True",), ("/a b",)]),
        ([(1, "b")], ("Item0", "Item1"), [("1", "b")]),
        ([[1, 2], (3, 4)], ("Item0", "Item1"), [("1", "2"), ("3", "4")]),
        ([Point(1, 2), Point(3, 4)], ("mass", "width"), [("1", "2"), ("3", "4")]),
        ([{"x": 1, "y": "b"}, {"y": 2, "x": 3}], ("x", "y"), [("1", "b"), ("3", "2")]),
        ({"a": 1}.items(), ("Item0", "Item1"), [("a", "1")]),
        (zip("ab", (1, 2), strict=True), ("Item0", "Item1"), [("a", "1"), ("b", "2")]),
        (pd.DataFrame({"x": [1, 2], "y": [0.5, 1.5]}), ("x", "y"), [("1", "0.5"), ("2", "1.5")]),
        (pd.Series([1, 2]), ("Item",), [("1",), ("2",)]),
        (np.linspace(0, 1, 3), ("Item",), [("0.0",), ("0.5",), ("1.0",)]),
        (np.array([[1, 2], [3, 4]]), ("Item0", "Item1"), [("1", "2"), ("3", "4")]),
        ([np.int64(3), np.float32(0.5), np.str_("s")], ("Item",), [("3",), ("0.5",), ("s",)]),
    ],
)
def test_every_iterable_of_scalars_tuples_and_mappings_is_taken(value, columns, rows):
    found = items.read(value, "grid")
    assert (found.columns, found.rows) == (columns, rows)
    assert found.dicts() == [dict(zip(columns, row, strict=True)) for row in rows]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (5, "--over grid: int is not a list of items."),
        ("text", "--over grid: str is not a list of items."),
        ({"a": 1}, "--over grid: dict is not a list of items."),
        ([], "--over grid: it is empty"),
        (pd.DataFrame({"x": []}), "--over grid: it is empty"),
        ([None], "--over grid: item 0, Item is of type NoneType"),
        ([(1, [2])], "--over grid: item 0, Item1 is of type list"),
        ([(1, 2), (1,)], "--over grid: item 1 has 1 values, the first has 2."),
        ([{"a": 1}, {"b": 1}], "--over grid: item 1 has other keys than the first: b."),
        ([{"a b": 1}], "--over grid: 'a b' cannot be the name of a macro."),
        ([{1: 1}], "--over grid: '1' cannot be the name of a macro."),
        ([()], "--over grid: empty items."),
        ([(1, 2), 3], "--over grid: item 1 is a int, the first is not."),
        (["a", "b\nc"], "--over grid: item 1, Item holds a line break or a control character"),
        (["$(Dollar)"], "--over grid: item 0, Item holds the text $(DOLLAR)"),
        (["a\x1fb"], "--over grid: item 0, Item holds a line break or a control character"),
    ],
)
def test_what_does_not_fit_is_told(value, said):
    with pytest.raises(CellError) as caught:
        items.read(value, "grid")
    assert said in caught.value.message
    assert "\n" not in caught.value.message


@given(st.text(max_size=20))
def test_a_text_is_taken_literally_or_refused(text):
    if any(c in text for c in "\n\r\x1f\0"):
        with pytest.raises(CellError, match="line break"):
            items.text_of(text, "it")
        return
    written = items.text_of(text, "it")
    assert written == written.strip()
    assert written
    assert written.replace(items.NOTHING, "").replace("$(DOLLAR)", "$") == text


def round_trip(pool, tmp_path, texts):
    """Send texts as items of held jobs; what the schedd has of each, and what the cluster says of its items."""
    description = "executable = /bin/true\nhold = true\nsubmit_event_notes = <$(a)|$(b)>\nqueue a, b"
    run_dir = RunDir.create()
    there = client(pool)
    pairs = [(text, text[::-1]) for text in texts]
    prepared = prepare(description, Options(over=pairs, over_name="pairs", directory=str(tmp_path)), {}, there, run_dir)
    record = send(prepared, there, run_dir).record
    rows = there.query(f"ClusterId == {record.cluster}", ["ProcId", "SubmitEventNotes"]).rows
    there.act("Remove", f"ClusterId == {record.cluster}", "done")
    kept = [tuple(item[name] for name in ("a", "b")) for item in items_kept(record, run_dir)]
    return [row[1] for row in sorted(rows)], kept


def items_kept(record, run_dir):
    """Return what a cluster says that its items were."""
    from htcmagic.jobs.outputs import Outputs

    outputs = Outputs(record, run_dir)
    return [outputs.item(proc) for proc in range(record.procs)]


SENDABLE = st.text(
    alphabet=st.one_of(st.sampled_from(" \t$(){}[]#\"'\\%&|;,:=@+-~`^<>?*!./é☃𝄞"), st.characters(codec="utf-8")),
    max_size=12,
).filter(lambda text: not any(c in text for c in "\n\r\x1f\0"))


@settings(max_examples=15, deadline=None)
@example(
    ["a", " b ", "", "#c", "(d", ")", "$(x)", "$$(Arch)", "$ENV(HOME)", 'it\'s "q"', "e\\", "\\\\", "queue", "é ☃"]
)
@example(["a$$", " a$", "$(htcmagic_nil)", "@=end", "a,b", "a b", "\t", "$INT(x)", "a = b", "if true", '"', '"quoted"'])
@given(st.lists(SENDABLE, min_size=1, max_size=12))
def test_hostile_texts_reach_the_schedd_as_they_are(pool, tmp_path_factory, texts):
    seen, kept = round_trip(pool, tmp_path_factory.mktemp("round"), texts)
    wanted = [(text, text[::-1]) for text in texts]
    assert kept == wanted
    assert seen == [f"<{a}|{b}>" for a, b in wanted]


def test_hostile_texts_reach_the_job(kernel):
    texts = [
        "plain",
        "a b",
        " lead",
        "trail ",
        "",
        "#c",
        "$(HOME)",
        "$ENV(X)",
        "é ☃",
        "back\\slash\\",
        "*",
        ";ls",
        "()",
    ]
    kernel.run(f"texts = {texts!r}")
    sent = kernel.run(
        "%%condor --over texts -o c\n"
        "executable = /bin/sh\n"
        'arguments = "-c \'printf %s ""$X""\'"\n'
        "environment = \"X='$(value)'\"\n"
        "queue value"
    )
    assert sent.error is None, sent.error
    told = kernel.run("import json; c.wait(100); print(json.dumps([j.stdout() for j in c]))", timeout=110)
    assert json.loads(told.text) == texts
