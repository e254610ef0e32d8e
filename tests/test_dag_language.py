"""HTCondor's DAG language, read as HTCondor reads it; its errors, with the line."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from htcmagic.engines.dag import language, order
from htcmagic.engines.dag.drawing import svg
from htcmagic.engines.dag.layout import layout
from htcmagic.engines.dag.states import NodeState
from htcmagic.errors import CellError

HEAD = "SUBMIT-DESCRIPTION s {\n    executable = /bin/true\n}\n"
DIAMOND = HEAD + "JOB a s\nJOB b s\nJOB c s\nJOB d s\nPARENT a CHILD b c\nPARENT b c CHILD d\n"


def test_a_dag_is_read() -> None:
    text = (
        "# a comment\nJOB first {\n  executable = /bin/echo\n  arguments = }\n} DIR sub NOOP\n"
        'job second first.sub DONE\nVARS second x="a \\"b\\" \\\\" y="2"\nRETRY second 3 UNLESS-EXIT 2\n'
        "SCRIPT DEFER 1 5 PRE second /bin/get it\nSCRIPT POST ALL_NODES /bin/put\n"
        "PARENT first \\\n  CHILD second\nFINAL last @=end\n executable = /bin/true\n@end\n"
    )
    graph = language.read(text)
    first, second, last = graph.nodes.values()
    assert (first.directory, first.noop, first.own) == (
        "sub",
        True,
        language.Description("  executable = /bin/echo\n  arguments = }", 3),
    )
    assert (second.source, second.done, second.retries) == ("first.sub", True, 3)
    assert second.variables == {"x": 'a "b" \\', "y": "2"}
    assert second.scripts == {"PRE": "/bin/get it", "POST": "/bin/put"}
    assert (second.parents, first.children, last.kind) == (["first"], ["second"], "final")
    assert order.layers(graph) == [["first"], ["second"], ["last"]]


def test_files_that_a_dag_names_are_read_with_it(tmp_path: Path) -> None:
    (tmp_path / "inner.dag").write_text("JOB x x.sub\nJOB y x.sub\nPARENT x CHILD y\n")
    (tmp_path / "more.dag").write_text('VARS a v="1"\n')
    graph = language.read(HEAD + "JOB a s\nSPLICE in inner.dag\nINCLUDE more.dag\nPARENT a CHILD in\n", tmp_path)
    assert list(graph.nodes) == ["a", "in+x", "in+y"]
    assert graph.nodes["in+x"].parents == ["a"]
    assert graph.nodes["in+y"].parents == ["in+x"]
    assert graph.nodes["a"].variables == {"v": "1"}
    (tmp_path / "loop.dag").write_text("INCLUDE loop.dag\n")
    with pytest.raises(CellError, match="without end"):
        language.read("INCLUDE loop.dag", tmp_path)


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("JOB a s\nJOB b s\nJOB c s\nPARENT a CHILD b\nPARENT b CHILD c\nPARENT c CHILD a", 9, "a → b → c → a"),
        ("JOB a s\nPARENT a CHILD a", 5, "its own parent"),
        ("JOB fit s\nPARENT fit CHILD fti", 5, "no such node"),
        ("JOB a s\nRETRY b 3", 5, "no such node"),
        ("JOB a s\nRETRY a often", 5, "a number"),
        ("JOB a s\nMAXJOBS c 0", 5, "would ever run"),
        ("JOB a s\nJOB a s", 5, "the first is in line 4"),
        ("JOB a {\nexecutable = x", 4, "not closed"),
        ("JBO a s", 4, "no DAG command"),
        ("executable = /bin/true", 4, "no DAG command"),
        ("JOB a+b s", 4, "cannot be"),
        ("JOB a", 4, "wants a name and a submit description"),
        ("JOB a s\nPARENT a", 5, "then CHILD"),
        ("JOB a s\nVARS a x=1", 5, "in quotes"),
        ("JOB a s\nSCRIPT PRE a", 5, "a node and a program"),
        ("SPLICE a nowhere.dag", 4, "does not exist"),
    ],
)
def test_errors_name_the_line(text: str, line: int, says: str) -> None:
    with pytest.raises(CellError, match=says) as caught:
        order.layers(language.read(HEAD + text))
    assert caught.value.line == line
    assert caught.value.hint or "own parent" in says or "first is" in says or "exist" in says


def test_the_hint_names_what_was_probably_meant() -> None:
    with pytest.raises(CellError) as caught:
        language.read(HEAD + "JOB fit s\nPARENT fit CHILD fti")
    assert caught.value.hint == "Did you mean fit?"


def _random(seed: int) -> str:
    """Return a DAG that is right, of every shape."""
    rng = random.Random(seed)  # noqa: S311 - nothing secret
    names = [f"n{i}" for i in range(rng.randint(1, 40))]
    lines = [f"JOB {name} s" for name in names]
    for _ in range(rng.randint(0, 30)):
        cut = rng.randint(1, len(names))
        uppers, lowers = names[:cut], names[cut:]
        if lowers:
            some = rng.sample(uppers, rng.randint(1, min(4, len(uppers))))
            lines.append(
                f"PARENT {' '.join(some)} CHILD {' '.join(rng.sample(lowers, rng.randint(1, min(4, len(lowers)))))}"
            )
    return HEAD + "\n".join(lines) + "\n"


@pytest.mark.parametrize("seed", range(6))
def test_it_is_read_as_the_real_checker_reads_it(tmp_path: Path, real: Callable[..., Any], seed: int) -> None:
    text = _random(seed)
    (tmp_path / "x.dag").write_text(text)
    (told,) = json.loads(real("condor_dag_checker", "-json", "-NoJoinNodes", str(tmp_path / "x.dag")).stdout)
    graph = language.read(text)
    layers = order.layers(graph)
    assert (len(graph.nodes), len(graph.edges)) == (told["NumNodes"], told["NumArcs"])
    assert len(layers[0]) == told["WidthByDepth"][0]
    place = {name: number for number, layer in enumerate(layers) for name in layer}
    assert all(place[parent] < place[child] for parent, child in graph.edges)


def test_the_drawing_escapes_names_and_shows_all_nodes() -> None:
    hostile = "<script>alert(1)</script>&\x1b[31m"
    graph = language.read(HEAD + f"JOB {hostile} s\nJOB b s\nPARENT {hostile} CHILD b")
    drawn = svg(layout(graph, order.layers(graph)), dict.fromkeys(graph.nodes, NodeState.DONE), {"b": "<i>no</i>\x07"})
    assert "<script" not in drawn
    assert "<i>" not in drawn
    assert not {"\x1b", "\x07"} & set(drawn)
    assert drawn.count("<g>") == 2


def test_a_thousand_nodes_are_drawn_as_blocks() -> None:
    lines = ["JOB make s", *(f"JOB sim{i} s\nPARENT make CHILD sim{i}" for i in range(998)), "JOB end s"]
    lines += [f"PARENT sim{i} CHILD end" for i in range(998)]
    graph = language.read(HEAD + "\n".join(lines))
    drawing = layout(graph, order.layers(graph))
    assert [(block.label, len(block.nodes)) for block in drawing.blocks] == [("make", 1), ("sim", 998), ("end", 1)]
    drawn = svg(drawing, dict.fromkeys(graph.nodes, NodeState.WAITING), {})
    assert drawn.count("h7v7h-7z") == 998
    assert len(drawn) < 40_000


def test_dags_of_every_shape_are_drawn() -> None:
    for seed in range(30):
        graph = language.read(_random(seed))
        drawing = layout(graph, order.layers(graph))
        assert sorted(name for block in drawing.blocks for name in block.nodes) == sorted(graph.nodes)
        assert all(
            block.x + 128 <= drawing.width and block.y + block.height <= drawing.height for block in drawing.blocks
        )
        places = {(block.x, block.y) for block in drawing.blocks}
        assert len(places) == len(drawing.blocks)


def test_the_language_of_the_diamond() -> None:
    assert order.layers(language.read(DIAMOND)) == [["a"], ["b", "c"], ["d"]]
