"""Splitting a cell at its queue statement, and the macros that it uses: pure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from htcmagic.errors import CellError
from htcmagic.jobs.description import assignments, line_using, split, undefined, used, variables, wished

HEAD = "executable = /bin/true\nx = queue"


@pytest.mark.parametrize(
    ("statement", "queue", "names"),
    [
        ("queue", "", ()),
        ("  QUEUE  ", "", ()),
        ("queue 5", "5", ()),
        ("queue $(n)", "$(n)", ()),
        ("queue x in (a, b)", "x in (a, b)", ("x",)),
        ("queue in (a b)", "in (a b)", ("Item",)),
        ("queue 3 x,y from items.txt", "3 x,y from items.txt", ("x", "y")),
        ("queue $(n) x from items.txt", "$(n) x from items.txt", ("x",)),
        ("queue x y from [1:] items.txt", "x y from [1:] items.txt", ("x", "y")),
        ("queue f matching files *.dat", "f matching files *.dat", ("f",)),
        ("queue f matching *.(a|b)", "f matching *.(a|b)", ("f",)),
        ("queue x,y from script.sh -v |", "x,y from script.sh -v |", ("x", "y")),
        ("queue x in (a f(x) b)", "x in (a f(x) b)", ("x",)),
        ("queue x in [::2] (\na\n\n# c\n b\n)", "x in [::2] (\na\n\n# c\n b\n)", ("x",)),
        ("queue x in (a\nb)\n)", "x in (a\nb)\n)", ("x",)),
        ("queue x,y from (\na, f(x)\n  ) ", "x,y from (\na, f(x)\n  ) ", ("x", "y")),
        ("queue x in (a, \\\n   b)", "x in (a, b)", ("x",)),
        ("queue \\\n  x from \\\n a.txt", "x from a.txt", ("x",)),
        ("queue 2\n\n  # the end\n\n", "2", ()),
        ("queue 2\r\n", "2", ()),
    ],
)
def test_the_queue_statement_is_found(statement, queue, names):
    body = split(f"{HEAD}\n{statement}")
    assert (body.text, body.queue, body.has_queue, body.variables) == (HEAD, queue, True, names)


@pytest.mark.parametrize(
    "text",
    [
        HEAD,
        "",
        "# queue",
        "queued = 1",
        "x = a \\\nqueue",
        "MY.X @=end\nqueue 5\n@end",
        "+X @=end\nqueue x in (\n@end\ny = 1",
        "queue_size = 3",
        "x = 1 \\\n  queue \\\n  queue",
    ],
)
def test_what_only_looks_like_one_is_none(text):
    assert split(text) == split(text)
    assert not split(text).has_queue
    assert split(text).text == text


@pytest.mark.parametrize(
    ("tail", "line", "said"),
    [
        ("queue x in (a\nb", 3, "the queue statement's list is not closed."),
        ("queue 2 x from (\na\nb)", 3, "the queue statement's list is not closed."),
        ("\nqueue x in (a) # no comment here", 4, "the queue statement's list is not closed."),
        ("queue \\\n x in (a", 3, "the queue statement's list is not closed."),
        ("queue 2\nqueue 3", 4, "there is a second queue statement"),
        ("queue x in (\na\n)\n\ny = 1\nqueue", 7, "there is text after the queue statement"),
    ],
)
def test_what_cannot_be_sent_is_told_with_its_line(tail, line, said):
    with pytest.raises(CellError, match=f"^line {line}: ") as caught:
        split(f"{HEAD}\n{tail}")
    assert said in caught.value.message
    assert caught.value.hint
    assert caught.value.line == line


@given(st.text(alphabet="queue xin(),=\\\n#@$", max_size=60))
def test_splitting_loses_nothing(cell):
    try:
        body = split(cell)
    except CellError:
        return
    assert cell.startswith(body.text)
    if not body.has_queue:
        assert body.text == cell


@given(
    st.lists(st.from_regex(r"[A-Za-z_]\w{0,5}", fullmatch=True).filter(lambda n: n.lower() not in WORDS), max_size=4)
)
def test_names_of_a_queue_statement(names):
    assert variables(f"{', '.join(names)} from items") == (tuple(names) or ("Item",))
    assert variables(f"4 {' '.join(names)} in (a b)") == (tuple(names) or ("Item",))


WORDS = {"in", "from", "matching"}


@pytest.mark.parametrize(
    ("text", "needed", "spared"),
    [
        ("$(x) $(y)", {"x", "y"}, set()),
        ("$(x:1) $(y?1:2)", set(), {"x", "y"}),
        ("$(x:1) $(X)", {"x"}, set()),
        ("$$(Arch) $$([TARGET.Cpus])", set(), set()),
        ("$ENV(HOME) $RANDOM_CHOICE(a,b) $RANDOM_INTEGER(1,9)", set(), set()),
        ("$Fnx(file) $INT(n,%03d) $REAL(r) $STRING(s) $SUBSTR(t,1,2)", {"file", "n", "r", "s", "t"}, set()),
        ("$( spaced ) $(y[1])", {"spaced", "y"}, set()),
        ("$(x $x {x} $() $(1a)", set(), set()),
        ("$(outer:$(inner))", {"inner"}, {"outer"}),
    ],
)
def test_macros_used(text, needed, spared):
    found = used([text])
    assert {name for name, is_needed in found.items() if is_needed} == needed
    assert {name for name, is_needed in found.items() if not is_needed} == spared


@pytest.mark.parametrize(
    ("cell", "taken", "names"),
    [
        ("arguments = $(a) $(b:1)\nqueue", (), ["a", "b"]),
        ("arguments = $(a) $(Process) $(CLUSTER) $(Item)", (), ["a"]),
        ("a = 1\nB=2\n+c = 3\narguments = $(A) $(b) $(c)", (), []),
        ("arguments = $(a) $(b)\nqueue a from f", ("B",), []),
        ("# $(a)\narguments = 1", (), []),
        ("if defined a\nx = 1\nelif ! defined b\nx = 2\nendif", (), ["a", "b"]),
        ("x @=end\n$(a)\n@end", (), ["a"]),
        ("queue $(n) x in ($(m))", (), ["n", "m"]),
    ],
)
def test_macros_that_a_notebook_might_provide(cell, taken, names):
    assert wished(split(cell), taken) == names


def test_undefined_macros():
    keys = {"arguments": "$(x) $(y) $(site) $(z:1) $(Process)", "y": "1"}
    assert undefined(keys, "$(n)", known=["SITE"], columns=["X"]) == ["n"]
    assert line_using("a = 1\nb = $Fnx( Name)\nc = $(nam)", "name") == 2
    assert line_using("a = 1", "name") is None


def test_assignments_take_values_literally():
    assert assignments({"a": 1, "b": "$(HOME)", "c": " x "}) == [
        "a = 1",
        "b = $(DOLLAR)(HOME)",
        "c = $(htcmagic_nil) x $(htcmagic_nil)",
    ]
    with pytest.raises(CellError, match="the variable a"):
        assignments({"a": "two\nlines"})
