"""The names of one function, class or comprehension in a cell: what it takes from outside."""

from __future__ import annotations

import ast

Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
COMPREHENSION = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


class Scope(ast.NodeVisitor):
    """The names of a function, lambda, class or comprehension.

    Attributes
    ----------
    free : dict of str to int
        Names that it takes from outside, and the lines.
    outer : set of str
        Names that it binds outside: ``global``, and ``:=`` in a comprehension.
    """

    def __init__(self, node: ast.AST) -> None:
        self.free: dict[str, int] = {}
        self.outer: set[str] = set()
        self._loads: dict[str, int] = {}
        self._inner: dict[str, int] = {}
        self._stores: set[str] = set()
        self._globals: set[str] = set()
        self._comprehends = isinstance(node, COMPREHENSION)
        self._start(node)
        stores = self._stores - self._globals
        hidden = set() if isinstance(node, ast.ClassDef) else stores
        for found, own in ((self._loads, stores), (self._inner, hidden)):
            for name, line in found.items():
                if name not in own:
                    self.free.setdefault(name, line)
        self.outer |= self._stores & self._globals

    def _start(self, node: ast.AST) -> None:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            arguments = node.args
            every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
            self._stores |= {one.arg for one in every if one is not None}
            body: list[ast.stmt] | list[ast.expr] = [node.body] if isinstance(node, ast.Lambda) else node.body
            for each in body:
                self.visit(each)
        elif isinstance(node, ast.ClassDef):
            for statement in node.body:
                self.visit(statement)
        elif isinstance(node, COMPREHENSION):
            self._in_comprehension(node)

    def _in_comprehension(self, node: Comprehension) -> None:
        for number, generator in enumerate(node.generators):
            for part in (generator.target, *([generator.iter] if number else []), *generator.ifs):
                self.visit(part)
        for name in ("elt", "key", "value"):
            if isinstance(value := getattr(node, name, None), ast.AST):
                self.visit(value)

    def visit_Name(self, node: ast.Name) -> None:  # noqa: D102
        if isinstance(node.ctx, ast.Load):
            self._loads.setdefault(node.id, node.lineno)
        else:
            self._stores.add(node.id)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:  # noqa: D102
        self.visit(node.value)
        if self._comprehends:
            self.outer.add(node.target.id)
        else:
            self._stores.add(node.target.id)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:  # noqa: D102
        if isinstance(node.target, ast.Name):
            self._loads.setdefault(node.target.id, node.lineno)
        self.generic_visit(node)

    def visit_Global(self, node: ast.Global) -> None:  # noqa: D102
        self._globals |= set(node.names)

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        self._stores |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}

    visit_Import = visit_ImportFrom = _import  # noqa: N815

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:  # noqa: D102
        if node.name:
            self._stores.add(node.name)
        self.generic_visit(node)

    def _pattern(self, node: ast.MatchAs | ast.MatchStar | ast.MatchMapping) -> None:
        name = node.rest if isinstance(node, ast.MatchMapping) else node.name
        if name:
            self._stores.add(name)
        self.generic_visit(node)

    visit_MatchAs = visit_MatchStar = visit_MatchMapping = _pattern  # noqa: N815

    def _nested(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef) -> None:
        if not isinstance(node, ast.Lambda):
            self._stores.add(node.name)
            for decorator in node.decorator_list:
                self.visit(decorator)
        if isinstance(node, ast.ClassDef):
            for base in [*node.bases, *(keyword.value for keyword in node.keywords)]:
                self.visit(base)
        else:
            for default in [*node.args.defaults, *(one for one in node.args.kw_defaults if one is not None)]:
                self.visit(default)
        self._take(Scope(node))

    visit_FunctionDef = visit_AsyncFunctionDef = visit_Lambda = visit_ClassDef = _nested  # noqa: N815

    def _comprehension(self, node: Comprehension) -> None:
        self.visit(node.generators[0].iter)
        scope = Scope(node)
        self._stores |= scope.outer
        scope.outer = set()
        self._take(scope)

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _comprehension  # noqa: N815

    def _take(self, scope: Scope) -> None:
        self.outer |= scope.outer
        for name, line in scope.free.items():
            self._inner.setdefault(name, line)
