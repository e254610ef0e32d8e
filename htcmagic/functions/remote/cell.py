"""A cell that runs in a job: its text, the names it uses, the values it leaves."""

from __future__ import annotations

import ast
import importlib
import io
import json
import linecache
import pickle
import sys
from types import FunctionType
from typing import Any

from htcmagic.functions import job
from htcmagic.functions.remote.records import Header, Part

FILE = "<job cell>"
"""What a traceback calls the cell."""
UNASKED = 32 << 20
"""Most bytes of a variable that comes back without having been named."""


class Cell:
    """A cell, ready to run.

    Attributes
    ----------
    source : str
        Its text, plain Python.
    modules : dict
        Names bound to modules: the modules' full names.
    outputs : tuple of str
        Names whose values come back.
    asked : bool
        Whether the user named them; else one that cannot be pickled, or is large, is left out.
    values : bytes
        The pickled dict of the other names it uses.
    value : str
        The variable that is its value, where its last line is no expression.
    """

    def __init__(
        self,
        source: str,
        modules: dict[str, str],
        outputs: tuple[str, ...],
        asked: bool,  # noqa: FBT001 - as the record has it
        values: bytes,
        value: str = "",
    ) -> None:
        self.source = source
        self.modules = modules
        self.outputs = outputs
        self.asked = asked
        self.values = values
        self.value = value

    @classmethod
    def read(cls, header: Header, body: bytes) -> Cell:
        """Return the cell of a function's record."""
        outputs = tuple(header["outputs"])
        return cls(header["source"], header["modules"], outputs, header["asked"], body, header["value"])

    def header(self) -> Header:
        """Return the header of its record, whose one part are the values."""
        return {
            "kind": "cell",
            "source": self.source,
            "modules": self.modules,
            "outputs": list(self.outputs),
            "asked": self.asked,
            "value": self.value,
        }

    def run(self, item: dict[str, Any]) -> list[Part]:
        """Run it with the variables of one item; return what it leaves."""
        from htcmagic.functions.remote.core import dumped  # noqa: PLC0415 - core knows cells

        shown: list[dict[str, Any]] = []
        values = pickle.loads(self.values) if self.values else {}
        names = _namespace(values)
        names |= {"__name__": "__main__", "__builtins__": __builtins__, "display": _display(shown)}
        names |= {name: importlib.import_module(module) for name, module in self.modules.items()}
        names |= values
        names |= item
        value = self._execute(names)
        parts: list[Part] = []
        if value is not None:
            shown.append(bundle(value))
            parts.append(("value", dumped(_home(value, parts))))
        parts += self._outputs(names)
        shown += _figures()
        if shown:
            parts.append(("displays", pickle.dumps(shown, protocol=5)))
        return parts

    def _outputs(self, names: dict[str, Any]) -> list[Part]:
        """Return the variables that come back, and why others do not."""
        from htcmagic.functions.remote.core import dumped  # noqa: PLC0415

        parts: list[Part] = []
        left: dict[str, str] = {}
        for name in self.outputs:
            if name not in names:
                if self.asked:
                    left[name] = "the cell has not set it"
                continue
            try:
                value = _home(names[name], parts)
                parts.append((f"out:{name}", dumped(value) if self.asked else _limited(value)))
            except Exception as error:  # noqa: BLE001 - pickling calls everybody's code
                if self.asked:
                    raise TypeError(f"{name} cannot be brought back: {error}") from None
                left[name] = str(error)[:300]
        if left:
            parts.append(("left", json.dumps(left).encode()))
        return parts

    def _execute(self, names: dict[str, Any]) -> Any:
        linecache.cache[FILE] = (len(self.source), None, self.source.splitlines(keepends=True), FILE)
        tree = ast.parse(self.source, FILE)
        last = tree.body[-1] if tree.body else None
        if isinstance(last, ast.Expr):
            tree.body.pop()
        exec(compile(tree, FILE, "exec"), names)  # noqa: S102 - that is what it is for
        if not isinstance(last, ast.Expr):
            return None
        return eval(compile(ast.Expression(last.value), FILE, "eval"), names)  # noqa: S307


def _namespace(values: dict[str, Any]) -> dict[str, Any]:
    """Return the globals of the notebook's functions: these see what the cell sets, as they do in a notebook."""
    for value in values.values():
        kind = value if isinstance(value, type) else type(value)
        for each in (value, *(vars(kind).values() if kind.__module__ == "__main__" else ())):
            if isinstance(each, FunctionType) and each.__globals__.get("__name__") == "__main__":
                return each.__globals__
    return {}


def _home(value: Any, parts: list[Part]) -> Any:
    """Have a file come home, if it is one; return the value to send."""
    if not isinstance(value, job.File):
        return value
    part = (f"file:{value.path.name}", value.path.resolve(strict=True))
    if part not in parts:
        parts.append(part)
    return job.File(value.path.name)


class _Limited(io.BytesIO):
    def write(self, data: Any) -> int:
        if self.tell() + memoryview(data).nbytes > UNASKED:
            raise ValueError(f"it is larger than {UNASKED >> 20} MB; to have it all the same: --outputs")
        return super().write(data)


def _limited(value: Any) -> bytes:
    """Pickle a value that may be of no interest: not if it is large."""
    stream = _Limited()
    try:
        pickle.Pickler(stream, protocol=5).dump(value)
    except (pickle.PicklingError, AttributeError, TypeError):
        import cloudpickle  # noqa: PLC0415 - see core.dumped

        stream = _Limited()
        cloudpickle.dump(value, stream, protocol=5)
    return stream.getvalue()


def _figures() -> list[dict[str, Any]]:
    """Return what is drawn and not yet shown, as a notebook does at the end of a cell."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is None:
        return []
    shown = [bundle(pyplot.figure(number)) for number in pyplot.get_fignums()]
    pyplot.close("all")
    return shown


def _display(shown: list[dict[str, Any]]) -> Any:
    def display(*values: Any, **_options: Any) -> None:
        """Show values in the notebook when the job's result is looked at."""
        shown.extend(bundle(value) for value in values)
        sys.stdout.flush()

    return display


def bundle(value: Any) -> dict[str, Any]:
    """Return what a notebook would show of a value, by MIME type."""
    data: dict[str, Any] = {}
    for kind, method in (
        ("text/html", "_repr_html_"),
        ("text/markdown", "_repr_markdown_"),
        ("image/svg+xml", "_repr_svg_"),
        ("image/png", "_repr_png_"),
        ("text/latex", "_repr_latex_"),
    ):
        try:
            told = getattr(value, method)()
        except Exception:  # noqa: BLE001, S112 - it has none, or it fails: others may do
            continue
        if told is not None:
            data[kind] = told
    if not data and type(value).__name__ == "Figure" and hasattr(value, "savefig"):
        data |= _figure(value)
    try:
        data["text/plain"] = repr(value)[:100_000]
    except Exception as error:  # noqa: BLE001 - somebody else's __repr__
        data["text/plain"] = f"<{type(value).__name__}: {error}>"
    return data


def _figure(figure: Any) -> dict[str, Any]:
    import io  # noqa: PLC0415 - few cells draw

    stream = io.BytesIO()
    figure.savefig(stream, format="png", bbox_inches="tight")
    return {"image/png": stream.getvalue()}
