"""A notebook cell as jobs: what it takes along, an item a job, and what is kept of it on disk."""

from __future__ import annotations

import ast
import builtins
import difflib
import json
import keyword
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

from htcmagic.errors import CellError
from htcmagic.functions import cellnames, jobs, payload
from htcmagic.functions.payload import Function
from htcmagic.functions.place import place
from htcmagic.functions.remote import records
from htcmagic.jobs.rundir import RunDir
from htcmagic.jobs.submission import Submission
from htcmagic.pool.client import Client

Report = Callable[[str], None]
MOST_ITEMS = 100_000
"""Most jobs of one cell."""
ALONE = "item"
"""The variable that is the whole item; ``item0``, ``item1`` … are the parts of a tuple."""
KIND = "cell"
THERE = frozenset({"display", "__name__", "__builtins__", "__doc__", "__debug__"})
"""Names that the runner gives to a cell."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a user says beside the cell.

    Attributes
    ----------
    over : object
        The items; None for a single job without one.
    inputs : sequence of str
        Files that go along, or names of variables that the cell uses without showing it.
    outputs : sequence of str
        Variables that come back; empty for all that the cell assigns.
    resources : mapping
        Submit commands.
    where : mapping
        Keywords of :func:`htcmagic.functions.place.place`.
    """

    over: Any = None
    over_name: str = ""
    inputs: Sequence[str] = ()
    outputs: Sequence[str] = ()
    resources: Mapping[str, str] = field(default_factory=dict)
    where: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""
    directory: str = ""
    hold: bool = False


@dataclass(frozen=True, slots=True)
class Order:
    """Jobs of a cell, ready to be sent.

    Attributes
    ----------
    function : Function
        The cell with what it uses.
    tasks : sequence of bytes
        Each item's variables, pickled.
    outputs : tuple of str
        Variables that come back.
    value : str
        The variable that is the cell's value; empty where an expression is, or nothing.
    expression : bool
        Whether the cell's last line is an expression.
    inputs : tuple of str
        Files that go along.
    sent : tuple of str
        Names from the notebook.
    notes : tuple of str
        What the user should know, one line each.
    """

    function: Function
    tasks: Sequence[bytes]
    wish: Wish
    outputs: tuple[str, ...]
    value: str = ""
    expression: bool = False
    inputs: tuple[str, ...] = ()
    sent: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def order(source: str, wish: Wish, namespace: Mapping[str, Any], hidden: Mapping[str, Any] | None = None) -> Order:
    """Find what a cell needs, and pack it.

    Parameters
    ----------
    source : str
        The cell.
    wish : Wish
        What else the user says.
    namespace : mapping
        The notebook's variables.
    hidden : mapping, optional
        Those of them that IPython has put there.

    Raises
    ------
    CellError
        It is no Python, uses names that nobody knows, or what it uses cannot be sent.
    """
    source, tree = parsed(source)
    items = [{}] if wish.over is None else list(_items(wish.over, wish.over_name))
    columns = [set(item) - {ALONE} for item in items]
    found = cellnames.names(tree, {*set.intersection(*columns), *(items[0] and {ALONE})}, set.union(*columns))
    known = {n: v for n, v in namespace.items() if not (n in (hidden or {}) and hasattr(builtins, n))}
    files, extra = _inputs(wish, known)
    taken = _Taken(found, known, set.union(*columns))
    for name in extra:
        taken.take(name, known[name])
    outputs = _outputs(wish.outputs, found, set.union(*columns), set(taken.values))
    function = payload.cell(source, taken.values, taken.modules, outputs, asked=bool(wish.outputs), value=found.value)
    uses_item = ALONE in _words(tree)
    tasks = [
        payload.variables(item if uses_item else {k: v for k, v in item.items() if k != ALONE or len(item) == 1}, what)
        for item, what in zip(items, (f"item {number}" for number in range(len(items))), strict=True)
    ]
    expression = bool(tree.body) and isinstance(tree.body[-1], ast.Expr)
    value = "" if expression or found.value not in outputs else found.value
    sent = tuple(sorted([*taken.values, *taken.modules]))
    return Order(function, tasks, wish, outputs, value, expression, files, sent, tuple(taken.notes))


def parsed(source: str) -> tuple[str, ast.Module]:
    """Return a cell as plain Python, and its tree.

    Raises
    ------
    CellError
        It is empty, has a slip, or is IPython's rather than Python.
    """
    if not source.strip():
        raise CellError("there is no code.", hint="Write it below the magic's line.")
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError) as error:
        source, tree = _of_ipython(source, error)
    try:
        compile(tree, "<job cell>", "exec")
    except (SyntaxError, ValueError) as error:
        raise _slip(error) from None
    return source, tree


def _of_ipython(source: str, error: SyntaxError | ValueError) -> tuple[str, ast.Module]:
    """Take what IPython reads as Python: indented cells, prompts; not its own commands."""
    from IPython.core.inputtransformer2 import TransformerManager  # noqa: PLC0415 - only after a slip

    try:
        plain = TransformerManager().transform_cell(source)
        tree = ast.parse(plain)
    except (SyntaxError, ValueError):
        raise _slip(error) from None
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id == "get_ipython":
            said = source.splitlines()[node.lineno - 1 : node.lineno]
            text = said[0].strip()[:60] if said else "a line"
            raise CellError(
                f"{text}: that is IPython's, and in a job there is plain Python only.",
                hint="For a command: import subprocess; subprocess.run([…]). For a magic: use it in a cell of its own.",
                line=node.lineno,
            )
    return plain, tree


def _slip(error: SyntaxError | ValueError) -> CellError:
    line = getattr(error, "lineno", None)
    text = (getattr(error, "text", None) or "").strip()
    message = getattr(error, "msg", None) or str(error)
    return CellError(f"{message}.", hint=text[:200], line=line)


def _items(over: Any, name: str) -> Iterator[dict[str, Any]]:
    """Yield each item's variables; the whole of it is ``item``."""
    count = 0
    for count, (entry, columns) in enumerate(islice(_entries(over, name), MOST_ITEMS + 1), 1):
        if count > MOST_ITEMS:
            raise CellError(
                f"--over {name}: more than {MOST_ITEMS:,} items; a cell has a job for each.",
                hint="htcmagic.map packs many calls into few jobs.",
            )
        for column in columns:
            if not isinstance(column, str) or not column.isidentifier() or keyword.iskeyword(column):
                raise CellError(
                    f"--over {name}: item {count - 1}: {column!r} cannot be the name of a variable.",
                    hint="Names are letters, digits and _; rename the key or column.",
                )
        yield {ALONE: entry, **columns}
    if not count:
        raise CellError(f"--over {name}: it is empty, so there is no job to send.")


def _entries(over: Any, name: str) -> Iterator[tuple[Any, dict[Any, Any]]]:
    if hasattr(over, "to_dict") and hasattr(over, "columns"):  # pandas, polars and their like
        titles = [str(column) for column in over.columns]
        rows = over.itertuples(index=False, name=None) if hasattr(over, "itertuples") else over.iter_rows()
        for row in rows:
            entry = dict(zip(titles, row, strict=True))
            yield entry, entry
        return
    if isinstance(over, str | bytes | Mapping) or not isinstance(over, Iterable):
        raise CellError(
            f"--over {name}: {type(over).__name__} is not a list of items.",
            hint="Give a list, a range, a list of tuples or dicts, or a data frame; a dict d as d.items().",
        )
    for entry in over:
        yield entry, _columns(entry)


def _columns(entry: Any) -> dict[Any, Any]:
    if isinstance(entry, Mapping):
        return dict(entry)
    if isinstance(entry, tuple):
        fields = getattr(entry, "_fields", None) or [f"{ALONE}{number}" for number in range(len(entry))]
        return dict(zip(fields, entry, strict=True))
    if hasattr(entry, "to_dict") and hasattr(entry, "index") and getattr(entry, "ndim", 0) == 1:  # a row of pandas
        return dict(entry.to_dict())
    return {}


def _inputs(wish: Wish, known: Mapping[str, Any]) -> tuple[tuple[str, ...], list[str]]:
    """Tell files that go along from names of variables that do."""
    files, names = [], []
    folder = Path(wish.directory or ".").expanduser()
    for word in wish.inputs:
        if "://" in word or (folder / Path(word).expanduser()).exists():
            files.append(word if "://" in word else str((folder / Path(word).expanduser()).absolute()))
        elif word in known:
            names.append(word)
        else:
            near = _near(word, known) if word.isidentifier() else ""
            raise CellError(f"--inputs {word}: there is no such file, nor a variable of that name.{near}")
    return tuple(files), names


def _outputs(asked: Sequence[str], found: cellnames.Names, given: set[str], taken: set[str]) -> tuple[str, ...]:
    may = {*found.assigned, *given, *taken}
    for name in asked:
        if name not in may and not found.star:
            raise CellError(f"--outputs {name}: the cell never sets {name}.{_near(name, may)}")
    return tuple(dict.fromkeys(asked or found.assigned))


def _near(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, [word for word in known if not word.startswith("_")], n=1, cutoff=0.6)
    return f" Did you mean {near[0]}?" if near else ""


def _words(tree: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


class _Taken:
    """What goes along with a cell."""

    def __init__(self, found: cellnames.Names, known: Mapping[str, Any], columns: set[str]) -> None:
        self.values: dict[str, Any] = {}
        self.modules: dict[str, str] = {}
        self.notes: list[str] = []
        self._known, self._columns, self._star = known, columns, found.star
        for name, use in found.uses.items():
            if name == "get_ipython":
                raise CellError(
                    "get_ipython is not there in a job: that is plain Python.", line=use.line, hint="Leave it out."
                )
            if name in known and (not use.own or self._can(known[name])):
                self.take(name, known[name])
            elif name not in known:
                self._unknown(name, use)

    def take(self, name: str, value: Any) -> None:
        """Take one name's value."""
        if isinstance(value, ModuleType):
            if value.__name__ == "__main__" or getattr(value, "__spec__", None) is None:
                raise CellError(f"{name} is a module without a file, which a job cannot import.")
            self.modules[name] = value.__name__
        else:
            self.values[name] = value

    @staticmethod
    def _can(value: Any) -> bool:
        """Whether a value that may not be needed, as the cell sets it itself on most ways, can be sent at all."""
        return isinstance(value, ModuleType) or payload.fits(value)

    def _unknown(self, name: str, use: cellnames.Use) -> None:
        if hasattr(builtins, name) or name in THERE or use.own or self._star:
            return
        near = _near(name, {*self._known, *self._columns, *dir(builtins)})
        said = f"{name} is not defined, neither in the notebook nor by the items."
        if use.certain:
            raise CellError(said, hint=near.strip() or "Set it before this cell, or in it.", line=use.line)
        self.notes.append(f"Warning: line {use.line}: {said}{near}")


def prepare(order: Order, client: Client, run_dir: RunDir, *, report: Report | None = None) -> Submission:
    """Write what the jobs need into the run's folder and return what is to be sent.

    Parameters
    ----------
    report : callable, optional
        Is told what takes long.
    """
    wish = order.wish
    folders = jobs.Folders(run_dir.path)
    names = [str(number) for number in range(len(order.tasks))]
    with jobs.writing(run_dir.path):
        folders.make()
        for number, (name, body) in enumerate(zip(names, order.tasks, strict=True)):
            header = {"id": number, "function": order.function.name}
            records.save(folders.chunks / name, [(header, [("args", body)])])
    work = jobs.Work(
        "static",
        names,
        place(**wish.where, report=report),
        name=wish.name,
        functions=[order.function],
        resources=wish.resources,
        inputs=order.inputs,
        directory=wish.directory,
        hold=wish.hold,
    )
    keep = {
        "kind": KIND,
        "function": order.function.name,
        "outputs": order.outputs,
        "value": order.value,
        "expression": order.expression,
        "inputs": order.inputs,
        "wish": {**asdict(_plain(wish)), "over": None},
    }
    run_dir.write(kept_file(run_dir), json.dumps(keep, indent=1))
    return jobs.prepare(work, client, run_dir)


def _plain(wish: Wish) -> Wish:
    return Wish(
        over_name=wish.over_name,
        inputs=tuple(wish.inputs),
        outputs=tuple(wish.outputs),
        resources=dict(wish.resources),
        where=dict(wish.where),
        name=wish.name,
        directory=wish.directory,
    )


def kept_file(run_dir: RunDir) -> Path:
    """Return the file that says what a run's Python jobs are."""
    return run_dir.path / "python.json"


def kept(run_dir: RunDir) -> dict[str, Any] | None:
    """Return what is kept of a cell's run; None where the run is none."""
    try:
        told: dict[str, Any] = json.loads(kept_file(run_dir).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return told if isinstance(told, dict) and told.get("kind") == KIND else None


def again(run_dir: RunDir, numbers: Sequence[int], resources: Mapping[str, str]) -> Order:
    """Return the order that runs some items of an earlier one again.

    Raises
    ------
    CellError
        Its files are gone.
    """
    told = kept(run_dir)
    folders = jobs.Folders(run_dir.path)
    try:
        assert told is not None  # noqa: S101 - it was when the run was found
        function = Function(told["function"], (folders.functions / told["function"]).read_bytes(), "the cell")
        tasks = [records.split((folders.chunks / str(number)).read_bytes())[0][1] for number in numbers]
    except OSError as error:
        raise CellError(f"The run's files are gone: {error}.", hint="Run the cell itself again.") from None
    wish = Wish(**{**told["wish"], "resources": {**told["wish"]["resources"], **resources}})
    return Order(
        function, tasks, wish, tuple(told["outputs"]), told["value"], told["expression"], tuple(told["inputs"])
    )
