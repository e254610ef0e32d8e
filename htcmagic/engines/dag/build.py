"""``htcmagic.dag()``: a DAG from submit descriptions and Python functions, whose results go along as files."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from htcmagic.engines.dag import drawing, language, order, preparing
from htcmagic.engines.dag.layout import layout
from htcmagic.engines.dag.states import NodeState
from htcmagic.errors import CellError
from htcmagic.functions.remote import parents
from htcmagic.jobs import description
from htcmagic.jobs.items import text_of
from htcmagic.jobs.submission import Submission

if TYPE_CHECKING:
    from htcmagic.engines.dag.handle import Dag
    from htcmagic.functions.place import Place

NAME = re.compile(r"[^\s+\"'{}]+\Z")
TASK = "htcmagic_task"
"""The macro that says which task is a node's: its files are called so."""
_used: list[Step] = []
"""Nodes that were found among the arguments that are being packed."""


class Step:
    """A node that is planned: given as an argument to a later one, it stands for what it returns.

    Parameters
    ----------
    number : int
        In the order of :meth:`Plan.add`.
    what : callable or str
        A function, or a submit description.
    """

    def __init__(self, plan: Plan, number: int, what: Callable[..., Any] | str, label: str) -> None:
        self._plan = plan
        self.number = number
        self.what = what
        self.label = label
        self.named = ""
        self.args: tuple[Any, ...] = ()
        self.values: dict[str, Any] = {}
        self.submit: dict[str, str] = {}
        self.retries = 0
        self.after: list[Step] = []

    @property
    def is_function(self) -> bool:
        """Whether it is a function, and no description."""
        return not isinstance(self.what, str)

    @property
    def name(self) -> str:
        """Its name in the DAG."""
        return self.named or self._plan.names()[self.number]

    def __reduce__(self) -> Any:
        """Be pickled, among the arguments of a later node, as the taking of this one's result."""
        _used.append(self)
        return parents.take, (str(self.number),)

    def __iter__(self) -> Any:
        raise CellError(f"{self.name} has not run yet, so there is nothing to go through.", hint="Do that in a node.")

    def __repr__(self) -> str:
        return f"<node {self.name} of {self._plan!r}>"


class Plan:
    """A DAG that is being put together: :meth:`add` nodes, then :meth:`submit` it.

    Parameters
    ----------
    name : str
        Its batch name.
    retries : int
        How often a node is tried again.
    where : Place
        Where the Python of functions comes from.
    submit : mapping
        Submit commands of function nodes.
    """

    def __init__(self, name: str, retries: int, where: Place, submit: Mapping[str, str]) -> None:
        self.name = text_of(name, "the name").replace("$(htcmagic_nil)", "")
        self.retries = retries
        self.place = where
        self.resources = dict(submit)
        self.steps: list[Step] = []
        self._names: list[str] = []

    def add(
        self,
        what: Callable[..., Any] | str | Mapping[str, Any] | Submission,
        *args: Any,
        name: str = "",
        after: Step | Iterable[Step] = (),
        retries: int | None = None,
        submit: Mapping[str, Any] | None = None,
        **values: Any,
    ) -> Step:
        """Add a node.

        Parameters
        ----------
        what : callable, str, mapping or Submission
            A function; or a submit description: its text, or its commands by name.
        *args, **values : object
            The function's arguments; a node among them, in lists and the like as well, stands for what it returns. Of a
            description, values are macros: ``$(x)``. A function's argument that is called as one of those below goes
            through ``functools.partial``.
        name : str, optional
            Its name in the DAG; if not given, the function's, numbered where there are several.
        after : node or iterable of nodes
            What it waits for, beside the nodes among its arguments.
        retries : int, optional
            How often it is tried again.
        submit : mapping, optional
            Submit commands of this node: ``{"request_memory": "4GB"}``.

        Returns
        -------
        Step
            The node, to be an argument of others.

        Raises
        ------
        CellError
            It cannot be a node.
        """
        from htcmagic.functions import place  # noqa: PLC0415 - not before something is sent
        from htcmagic.functions.task import Task  # noqa: PLC0415

        if isinstance(what, Task):
            what = what.__wrapped__
        text, label = _described(what)
        step = Step(self, len(self.steps), text, name or label)
        if name and not NAME.match(name):
            raise CellError(f"{name!r} cannot be a node's name.", hint="One word, without quotes, braces and +.")
        if name and name in {each.named for each in self.steps}:
            raise CellError(f"there are two nodes named {name}.", hint="Leave name= out to have them numbered.")
        if args and not step.is_function:
            raise CellError("a description takes its values by name.", hint="For example: add(text, mass=500)")
        step.named, step.args, step.values = name, args, values
        step.retries = self.retries if retries is None else retries
        step.submit = place.resources(**(submit or {}))
        step.after = [after] if isinstance(after, Step) else list(after)
        for each in step.after:
            if not isinstance(each, Step) or each._plan is not self:  # noqa: SLF001
                raise CellError(f"after={each!r}: it is no node of this DAG.", hint="Give what add() has returned.")
        self.steps.append(step)
        self._names = []
        return step

    def names(self) -> list[str]:
        """Return every node's name: a function's own, numbered where it is there several times."""
        if len(self._names) != len(self.steps):
            often = Counter(step.label for step in self.steps if not step.named)
            taken = {step.named for step in self.steps}
            number: Counter[str] = Counter()
            self._names = []
            for step in self.steps:
                name = step.named or (step.label if often[step.label] == 1 and step.label not in taken else "")
                while not name or (not step.named and name in taken):
                    name = f"{step.label}{number[step.label]}"
                    number[step.label] += 1
                taken.add(name)
                self._names.append(name)
        return self._names

    def packed(self, step: Step) -> tuple[bytes, list[Step]]:
        """Return a function node's arguments as bytes, and the nodes among them."""
        from htcmagic.functions import payload  # noqa: PLC0415 - not before something is sent

        _used.clear()
        data = payload.arguments(step.args, step.values, f"node {step.name}")
        found = list(dict.fromkeys(_used))
        for each in found:
            if each._plan is not self:  # noqa: SLF001
                raise CellError(f"node {step.name}: {each.name} is a node of another DAG.")
            if not each.is_function:
                raise CellError(
                    f"node {step.name}: {each.name} is a program, so it returns nothing.",
                    hint=f"To wait for it: after={each.name}. What it writes is in files.",
                )
        return data, found

    def submit(
        self, *, maxjobs: int | None = None, maxidle: int | None = None, schedd: str = "", pool: str = ""
    ) -> Dag:
        """Check it and send it.

        Parameters
        ----------
        maxjobs, maxidle : int, optional
            At most so many nodes at once; no more are sent while so many jobs are idle.
        schedd, pool : str
            Where to, if not where everything goes.

        Raises
        ------
        CellError
            Something of it cannot be sent.
        """
        from htcmagic.engines.dag import assembling  # noqa: PLC0415 - with its first use

        limits = {"MaxJobs": maxjobs, "MaxIdle": maxidle}
        for name, number in limits.items():
            if number is not None and number < 1:
                raise CellError(f"{name.lower()}={number}: at least 1; leave it out for no limit.")
        wanted = {name: number for name, number in limits.items() if number is not None}
        return assembling.send(self, wanted, schedd, pool)

    def __len__(self) -> int:
        return len(self.steps)

    def __repr__(self) -> str:
        number = len(self.steps)
        return f"<DAG {self.name}: {number} node{'' if number == 1 else 's'}, not sent: .submit()>"

    def _repr_html_(self) -> str:
        graph = language.Graph()
        for step in self.steps:
            graph.nodes[step.name] = language.Node(step.name, "job", "", 0)
        for step in self.steps:
            inputs = self.packed(step)[1] if step.is_function else []
            for each in [*inputs, *step.after]:
                graph.join(each.name, step.name, 0)
        if not graph.nodes:
            return f"<p>{escape(repr(self))}</p>"
        states = dict.fromkeys(graph.nodes, NodeState.WAITING)
        drawn = drawing.svg(layout(graph, order.layers(graph)), states, {})
        return f'<div style="overflow:auto">{escape(repr(self))}<br>{drawn}</div>'


def _described(what: Any) -> tuple[Callable[..., Any] | str, str]:
    """Return a function as it is, or a description as text; and what to call it."""
    if isinstance(what, Submission):
        what = what.text
    if isinstance(what, Mapping):
        what = "\n".join(f"{key} = {value}" for key, value in what.items())
    if isinstance(what, str):
        body = description.split(what)
        if body.variables or body.queue.partition("\n")[0].strip() not in {"", "1"}:
            raise CellError(
                "a node's description queues one job.", hint="Leave its queue statement out; add a node each."
            )
        program = re.search(r"^\s*executable\s*=\s*(\S+)", body.text, re.MULTILINE | re.IGNORECASE)
        return body.text, preparing.safe_name(Path(program.group(1)).stem if program else "node")
    if not callable(what):
        raise CellError(f"{what!r:.60} is neither a function nor a submit description.")
    name = re.sub(r"\W+", "", getattr(what, "__name__", "")) or "node"
    return what, name


def dag(
    name: str = "dag",
    *,
    retries: int = 0,
    python: str = "",
    container: str = "",
    stack: str = "",
    ship_env: bool = False,
    kernel: str | None = None,
    **submit: Any,
) -> Plan:
    """Begin a DAG: a workflow that DAGMan runs, also after logout.

    Parameters
    ----------
    name : str
        Its batch name.
    retries : int
        How often a node is tried again that has failed.
    python, container, stack, ship_env, kernel
        Where the Python of function nodes comes from, as in %%condor_python; if not given, it is the notebook's own.
    **submit : object
        What function nodes ask for: ``memory="2GB"``, or any submit command.

    Examples
    --------
    >>> flow = htcmagic.dag("pi", memory="500MB")
    >>> parts = [flow.add(throw, seed) for seed in range(10)]
    >>> mean = flow.add(average, parts)
    >>> run = flow.submit()
    >>> run.results()["average"]
    """
    from htcmagic.functions import place  # noqa: PLC0415 - not before something is sent

    where = place.place(python, container, stack, ship_env=ship_env, kernel=kernel)
    return Plan(name, retries, where, {**place.defaults(), **place.resources(**submit)})


def quoted_values(values: Mapping[str, Any]) -> str:
    """Return macros as VARS takes them."""
    out = io.StringIO()
    for name, value in values.items():
        out.write(f" {name}={preparing.quoted(text_of(value, name))}")
    return out.getvalue()
