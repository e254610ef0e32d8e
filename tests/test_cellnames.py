"""The names that a cell takes from outside, and those that it leaves."""

from __future__ import annotations

import ast

import pytest

from htcmagic.functions.cellnames import names

# The names of a cell.


@pytest.mark.parametrize(
    ("cell", "certain", "own", "perhaps", "assigned"),
    [
        ("fit = model.fit(x, y)", "model", "", "", "fit"),
        ("import a.b, c as d\nfrom e import f as g\na, d, g, b", "b", "", "", ""),
        ("x = x + 1", "x", "", "", "x"),
        ("x += 1", "x", "", "", "x"),
        ("x = 1\nx", "", "", "", "x"),
        ("for i in xs: d = i\nd, i", "xs", "d i", "", "d"),
        ("if q: n = 1\nelse: n = 2\nn", "q", "", "", "n"),
        ("if q: n = 1\nn", "q", "n", "", "n"),
        ("if q: raise E\nelse: n = 1\nn", "q", "", "E", "n"),
        ("while w: w = v", "v w", "", "", "w"),
        ("try: import j\nexcept ImportError: j = None\nj", "ImportError", "", "", "j"),
        ("try: a = f()\nfinally: b = 1\n(a, b)", "", "", "f", "a b"),
        ("try: f()\nexcept* E as e: e\ne", "E", "e", "f", ""),
        ("with open(p) as h, k as (m, n): t = h\nm, n", "k open p", "", "", "t"),
        ("def f(a, *b, c=d, **e): return a, b, c, e, g(f)\nf(1)", "d", "", "g", ""),
        ("def f(): return h()\ndef h(): return f(), late\nlate = 1", "", "late", "", "late"),
        ("def f():\n    global r\n    r = 1\nf()\nr", "", "r", "", "r"),
        ("def f():\n    import s\n    def g(): return s, t\n    return g", "", "", "t", ""),
        ("def f(a: A) -> B:\n    try: pass\n    except E as e: e", "A B", "", "E", ""),
        ("class C(B, k=K):\n    z = 1\n    def m(self): return z, super()", "B K", "", "super z", ""),
        ("@deco\ndef f(): pass", "deco", "", "", ""),
        ("lambda q, r=s: q * w", "s", "", "w", ""),
        ("[z * k for z in zs if z if m for y in (z, o)]", "k m o zs", "", "", ""),
        ("{a: b for a, b in c}, {d for d in e}, (f for f in g)", "c e g", "", "", ""),
        ("[(w := t) for t in ts]\nw", "ts", "", "", "w"),
        ("def f(): return [x for x in y for _ in x if (u := x)], u", "", "", "y", ""),
        ("match v:\n    case {'a': aa, **r}: s = aa, r\n    case P(b=[c, *d]) | 3 if c: c, d", "P v", "", "", "s"),
        ("del u\nu", "u", "", "", ""),
        ("a.b = c[d] = e", "a c d e", "", "", ""),
        ("a: T\nb: T = 1", "T", "", "", "b"),
        ("f'{x!r:>{y}}'", "x y", "", "", ""),
        ("_h = h = 1", "", "", "", "h"),
        ("if (n := f()) > 1: n", "f", "", "", "n"),
        ("async def f(): await g()\nf()", "", "", "g", ""),
    ],
)  # fmt: skip
def test_the_names_a_cell_takes_and_leaves(cell, certain, own, perhaps, assigned):
    found = names(ast.parse(cell), given=("x", "y") if cell.startswith("fit") else ())
    uses = found.uses.items()
    assert " ".join(sorted(n for n, use in uses if use.certain and not use.own)) == certain
    assert " ".join(sorted(n for n, use in uses if use.own)) == own
    assert " ".join(sorted(n for n, use in uses if not use.certain and not use.own)) == perhaps
    assert " ".join(found.assigned) == assigned


def test_names_nobody_can_know():
    assert names(ast.parse("from numpy import *\nsqrt(2)")).star
    assert names(ast.parse("x"), perhaps=("x",)).uses["x"].own
    assert names(ast.parse("")).uses == {}
