"""Which names a cell uses that it does not make itself, and which it leaves: from its syntax tree, nothing is run."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass, field

from htcmagic.functions.cellscope import Comprehension, Scope


@dataclass
class Use:
    """A name that a cell takes from outside.

    Attributes
    ----------
    line : int
        Where it is first used.
    own : bool
        Whether the cell itself may have made it before, on some way.
    certain : bool
        Whether it is used on every way through the cell.
    """

    line: int
    own: bool
    certain: bool


@dataclass
class Names:
    """What a cell takes and leaves.

    Attributes
    ----------
    uses : dict of str to Use
        Names from outside, in the order of their first use.
    assigned : list of str
        Variables that it assigns; not what it imports or defines, nor what begins with ``_``.
    value : str
        What its last line assigns, if that is a single name.
    star : bool
        Whether it imports names that nobody can know.
    """

    uses: dict[str, Use] = field(default_factory=dict)
    assigned: list[str] = field(default_factory=list)
    value: str = ""
    star: bool = False


def names(tree: ast.Module, given: Iterable[str] = (), perhaps: Iterable[str] = ()) -> Names:
    """Return what a cell takes and leaves.

    Parameters
    ----------
    tree : ast.Module
        The cell.
    given : iterable of str
        Names that are there when it starts: the item's variables.
    perhaps : iterable of str
        Names that are there for some items.
    """
    flow = _Flow(set(given), set(perhaps))
    for statement in tree.body:
        flow.visit(statement)
    flow.finish()
    flow.found.value = _last(tree)
    return flow.found


def _last(tree: ast.Module) -> str:
    last = tree.body[-1] if tree.body else None
    if isinstance(last, ast.Assign) and len(last.targets) == 1:
        target: ast.expr = last.targets[0]
    elif isinstance(last, ast.AugAssign) or (isinstance(last, ast.AnnAssign) and last.value is not None):
        target = last.target
    else:
        return ""
    return target.id if isinstance(target, ast.Name) else ""


class _Flow(ast.NodeVisitor):
    """Goes through the cell in the order in which it runs, and keeps what is surely bound by then."""

    def __init__(self, given: set[str], perhaps: set[str]) -> None:
        self.found = Names()
        self.bound = set(given)
        self.ever = given | perhaps
        self._defined: set[str] = set()
        self._sure = True
        self._later: list[tuple[str, int]] = []

    def finish(self) -> None:
        """Judge what functions use: it counts when they are called, and that may be any time."""
        for name, line in self._later:
            if name not in self._defined:
                self._use(name, line, own=name in self.ever, certain=False)

    def _use(self, name: str, line: int, *, own: bool, certain: bool) -> None:
        use = self.found.uses.setdefault(name, Use(line, own, certain))
        use.own, use.certain = use.own and own, use.certain or certain

    def _bind(self, name: str, *, kept: bool = False) -> None:
        self.bound.add(name)
        self.ever.add(name)
        if kept and not name.startswith("_") and name not in self.found.assigned:
            self.found.assigned.append(name)

    def _load(self, name: str, line: int) -> None:
        if name not in self.bound:
            self._use(name, line, own=name in self.ever, certain=self._sure)

    def _deferred(self, node: ast.AST) -> None:
        scope = Scope(node)
        self._later += [(name, line) for name, line in scope.free.items() if name not in self.bound]
        for name in scope.outer:
            self.ever.add(name)
            if not name.startswith("_") and name not in self.found.assigned:
                self.found.assigned.append(name)

    def _each(self, *nodes: ast.AST | None) -> None:
        for node in nodes:
            if node is not None:
                self.visit(node)

    def _branch(self, body: Iterable[ast.stmt], *, sure: bool = False) -> set[str] | None:
        """Go through statements that may not run; return what is bound after them, None if nothing comes after."""
        before, was_sure = set(self.bound), self._sure
        self._sure = was_sure and sure
        body = list(body)
        self._each(*body)
        after: set[str] | None = self.bound
        if body and isinstance(body[-1], ast.Raise | ast.Return | ast.Continue | ast.Break):
            after = None
        self.bound, self._sure = before, was_sure
        return after

    def _join(self, *ways: set[str] | None) -> None:
        left = [way for way in ways if way is not None]
        if left:
            self.bound = set.intersection(*left)

    # names

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self._load(node.id, node.lineno)
        elif isinstance(node.ctx, ast.Store):
            self._bind(node.id, kept=True)
        else:
            self._load(node.id, node.lineno)
            self.bound.discard(node.id)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self._each(node.value, node.target)

    def visit_Assign(self, node: ast.Assign) -> None:
        self._each(node.value, *node.targets)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            self._load(node.target.id, node.lineno)
        self._each(node.value, node.target)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self._each(node.value, node.annotation)
        if node.value is not None or not isinstance(node.target, ast.Name):
            self.visit(node.target)

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        for alias in node.names:
            if alias.name == "*":
                self.found.star = True
            else:
                self._bind(alias.asname or alias.name.partition(".")[0])

    visit_Import = visit_ImportFrom = _import  # noqa: N815

    # scopes of their own

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        arguments = node.args
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
        self._each(*node.decorator_list, *arguments.defaults, *arguments.kw_defaults)
        self._each(node.returns, *(one.annotation for one in every if one is not None))
        self._deferred(node)
        self._define(node.name)

    visit_FunctionDef = visit_AsyncFunctionDef = _function  # noqa: N815

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._each(*node.args.defaults, *node.args.kw_defaults)
        self._deferred(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._each(*node.decorator_list, *node.bases, *(keyword.value for keyword in node.keywords))
        self._deferred(node)
        self._define(node.name)

    def _define(self, name: str) -> None:
        self._bind(name)
        self._defined.add(name)

    def _comprehension(self, node: Comprehension) -> None:
        self.visit(node.generators[0].iter)
        scope = Scope(node)
        for name, line in scope.free.items():
            self._load(name, line)
        for name in scope.outer:
            self._bind(name, kept=True)

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _comprehension  # noqa: N815

    # ways through

    def visit_If(self, node: ast.If) -> None:
        self.visit(node.test)
        self._join(self._branch(node.body), self._branch(node.orelse))

    def _for(self, node: ast.For | ast.AsyncFor) -> None:
        self.visit(node.iter)
        before = set(self.bound)
        for each in ast.walk(node.target):
            if isinstance(each, ast.Name):
                self._bind(each.id)
            elif isinstance(each, ast.Attribute | ast.Subscript):
                self.visit(each.value)
        self._branch(node.body, sure=True)
        self.bound = before
        self._branch(node.orelse)

    visit_For = visit_AsyncFor = _for  # noqa: N815

    def visit_While(self, node: ast.While) -> None:
        self.visit(node.test)
        self._branch(node.body, sure=True)
        self._branch(node.orelse)

    def _with(self, node: ast.With | ast.AsyncWith) -> None:
        for item in node.items:
            self.visit(item.context_expr)
            for each in ast.walk(item.optional_vars) if item.optional_vars is not None else ():
                if isinstance(each, ast.Name):
                    self._bind(each.id)
        self._each(*node.body)

    visit_With = visit_AsyncWith = _with  # noqa: N815

    def _try(self, node: ast.Try | ast.TryStar) -> None:
        ways = [self._branch([*node.body, *node.orelse])]
        for handler in node.handlers:
            self._each(handler.type)
            before = set(self.bound)
            if handler.name:
                self._bind(handler.name)
            after = self._branch(handler.body)
            ways.append(after - ({handler.name} if handler.name else set()) if after is not None else None)
            self.bound = before
        self._join(*ways)
        self._each(*node.finalbody)

    visit_Try = visit_TryStar = _try  # noqa: N815

    def visit_Match(self, node: ast.Match) -> None:
        self.visit(node.subject)
        for case in node.cases:
            before = set(self.bound)
            for each in ast.walk(case.pattern):
                for name in (getattr(each, "name", None), getattr(each, "rest", None)):
                    if isinstance(name, str):
                        self._bind(name)
                if isinstance(each, ast.Name):
                    self._load(each.id, each.lineno)
            self._branch([*([ast.Expr(case.guard)] if case.guard is not None else []), *case.body])
            self.bound = before
