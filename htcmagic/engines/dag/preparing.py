"""From a DAG's text to what is sent: read, completed, checked; nothing is sent yet."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from htcmagic.engines.dag import language, order
from htcmagic.engines.dag.language import Description, Graph, Node
from htcmagic.errors import CellError, HTCMagicError, InstallError
from htcmagic.jobs import description, submission
from htcmagic.jobs.items import text_of
from htcmagic.pool import command
from htcmagic.pool.client import SUBMIT_S, Client

GIVEN = frozenset(
    """
    job node node_name retry max_retries dag_status failed_count dag_parent_names dagmanjobid dag_node_name jobid
    dagnodename dag_id my.dagnodename
    """.split()  # noqa: SIM905
)
"""Macros that DAGMan gives every node."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a user may say beside the DAG.

    Attributes
    ----------
    limits : mapping
        condor_submit_dag's throttles: ``MaxJobs``, ``MaxIdle``, ``MaxPre``, ``MaxPost``.
    completed : bool
        Whether macros and output files may be added to it.
    """

    name: str = ""
    limits: Mapping[str, int] = field(default_factory=dict)
    directory: str = ""
    checked: bool = True
    completed: bool = True


@dataclass(frozen=True, slots=True)
class Prepared:
    """A DAG ready to be sent.

    Attributes
    ----------
    text : str
        As written, with what was added behind it.
    borrowed : dict
        Macros taken from notebook variables.
    """

    text: str
    graph: Graph
    layers: list[list[str]]
    directory: Path
    borrowed: dict[str, object]
    notes: tuple[str, ...] = ()


def prepare(
    text: str, options: Options, namespace: Mapping[str, object], client: Client, output_dir: Path | None
) -> Prepared:
    """Read, complete and check a DAG.

    Parameters
    ----------
    output_dir : Path or None
        Where nodes write whose description names no file for it; None to leave that alone.

    Raises
    ------
    CellError
        It cannot be read, goes in a circle, names what is not there, or uses a macro that nothing defines.
    """
    directory = Path(options.directory or ".").expanduser().absolute()
    if not directory.is_dir():
        raise CellError(f"--dir {options.directory}: there is no such folder.")
    graph = language.read(text, directory)
    if not graph.nodes:
        raise CellError("there is no node.", hint="Define one:  JOB fit {  executable = …  }")
    found = order.layers(graph)
    borrowed: dict[str, object] = {}
    added: list[str] = []
    notes = list(graph.notes)
    for written, nodes in _by_description(graph, directory):
        lent, said = _describe(written, nodes, namespace if options.completed else {}, client, directory, options)
        borrowed |= {name: namespace[name] for name in lent}
        for name in lent:
            added += _given(name, namespace[name], nodes, graph)
        notes += said
    if output_dir is not None:
        added += _outputs(graph, output_dir)
    more = list(dict.fromkeys(added))
    whole = "\n".join([text.rstrip("\n"), *(["# What htcmagic has added", *more] if more else []), ""])
    return Prepared(whole, graph, found, directory, borrowed, tuple(dict.fromkeys(notes)))


def _by_description(graph: Graph, directory: Path) -> list[tuple[Description, list[Node]]]:
    """Return each submit description once, with the nodes that are made of it."""
    found: dict[tuple[str, int, str], tuple[Description, list[Node]]] = {}
    for node in graph.nodes.values():
        if node.kind == "subdag":
            _there(directory / node.directory / node.source, node, "the DAG file")
            continue
        written = graph.description(node)
        if written is None:
            if "$(" in node.source:
                continue
            written = Description(_there(directory / node.directory / node.source, node, "the submit file"), 0)
        found.setdefault((written.text, written.line, node.directory), (written, []))[1].append(node)
    return list(found.values())


def _there(path: Path, node: Node, what: str) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        hint = "Relative paths start at the notebook's folder."
        if what == "the submit file":
            hint = f"Write it into the cell:  SUBMIT-DESCRIPTION {node.source} {{ … }}  or  JOB {node.name} {{ … }}"
        raise CellError(f"{what} {node.source} does not exist.", line=node.line or None, hint=hint) from None


def _describe(
    written: Description,
    nodes: list[Node],
    namespace: Mapping[str, object],
    client: Client,
    directory: Path,
    options: Options,
) -> tuple[list[str], list[str]]:
    """Check one submit description; return which notebook variables it uses, and what is probably a slip.

    Raises
    ------
    CellError
        With the line of the cell.
    """
    first = written.line or nodes[0].line
    cwd = directory / nodes[0].directory
    body = _split(written, nodes)
    common = set.intersection(*({name.lower() for name in node.variables} for node in nodes))
    wished = description.wished(body, [*common, *GIVEN])
    wished = [name for name in wished if submission._lendable(namespace.get(name))]  # noqa: SLF001
    if any("+" in node.name for node in nodes):
        wished = []  # DAGMan gives nothing to nodes in splices from outside
    values = {name: "x" for node in nodes for name in node.variables} | dict.fromkeys(wished, "x")
    call: dict[str, Any] = {"queue": f"queue {body.queue}".rstrip(), "cwd": str(cwd)}
    parse = client.call("parse", text=body.text, env=dict(os.environ), first_line=first, **call)
    columns = [*common, *wished, *GIVEN, *body.variables]
    missing = description.undefined(parse["keys"], body.queue.partition("\n")[0], parse["known"], columns)
    if missing and options.checked:
        raise _undefined(missing, body, written, nodes, namespace)
    if options.checked:
        rows = [
            {**{name: text_of(namespace[name], name) for name in wished}, **node.variables, "JOB": node.name}
            for node in nodes
            if not node.noop
        ]
        _files(body.text, rows, [*values, "JOB"], client, call, written, nodes)
    notes = [
        f"Warning: line {(description.line_of(body.text, name) or 1) + first - 1}: {name} is no submit command, and "
        f"nothing uses it.{f' Did you mean {meant}?' if meant else ''}"
        for name, meant in description.unused(parse["keys"], body)
        if written.line
    ]
    return wished, notes


def _split(written: Description, nodes: list[Node]) -> description.Body:
    try:
        return description.split(written.text)
    except CellError as error:
        if not written.line:
            raise CellError(f"{nodes[0].source}: {error.message}", hint=error.hint) from None
        where = re.sub(r"^line \d+: ", "", error.message)
        raise CellError(where, hint=error.hint, line=written.line + (error.line or 1) - 1) from None


def _undefined(
    missing: list[str],
    body: description.Body,
    written: Description,
    nodes: list[Node],
    namespace: Mapping[str, object],
) -> CellError:
    name = missing[0]
    line = description.line_using(body.text, name)
    without = next((n for n in nodes if name.lower() not in {v.lower() for v in n.variables}), nodes[0])
    some = len(nodes) > 1 and any(name.lower() in {v.lower() for v in node.variables} for node in nodes)
    said = f"the macro $({name}) is not defined" + (f" for node {without.name}" if some else "")
    hint = f'Set a variable {name} in the notebook, or give the node its value: VARS {without.name} {name}="…"'
    if name in namespace:
        said += f", and the notebook's variable {name} is a {type(namespace[name]).__name__}"
        hint = f'A macro takes str, int, float or Path. Or give the node its value: VARS {without.name} {name}="…"'
    where = written.line + line - 1 if line and written.line else nodes[0].line or None
    return CellError(f"{said}.", hint=hint, line=where)


def _files(
    text: str,
    rows: list[dict[str, str]],
    columns: Sequence[str],
    client: Client,
    call: Mapping[str, Any],
    written: Description,
    nodes: list[Node],
) -> None:
    """Look for executables and input files; those that other nodes are to make are not there yet."""
    if not rows or "htcmagic_task" in nodes[0].variables:  # what functions need was written a moment ago
        return
    names = {name for row in rows for name in row}
    full = [{name: row.get(name, "") for name in names} for row in rows]
    checked = client.call("check", text=text, columns=tuple(columns), items=full, within_s=SUBMIT_S, **call)
    first = all(not node.parents and not node.scripts for node in nodes)
    wrong = [each for each in checked["missing"] if each[0] in {"nothing", "folder", "mode"} or first]
    try:
        submission._all_there([each for each in wrong if each[0] != "output"])  # noqa: SLF001
    except CellError as error:
        path = next((each[1] for each in wrong), "")
        line = next((n for n, row in enumerate(text.split("\n"), 1) if path and path in row), 0)
        where = written.line + line - 1 if written.line and line else nodes[0].line or None
        raise CellError(error.message, hint=error.hint, line=where) from None


def _given(name: str, value: object, nodes: list[Node], graph: Graph) -> list[str]:
    """Return lines that give nodes a macro from the notebook; what the DAG itself says wins."""
    return _defaults(name, text_of(value, f"the variable {name}"), nodes, graph)


def _outputs(graph: Graph, output_dir: Path) -> list[str]:
    """Return lines that give every node files for what it prints, unless its description names some."""
    path = text_of(str(output_dir), "the path of the run's folder")
    nodes = list(graph.nodes.values())
    lines = []
    for key, stream in (("output", "out"), ("error", "err")):
        lines += _defaults(key, f"{path}/$(Cluster).$(Process).{stream}", nodes, graph)
    return lines


def _defaults(name: str, value: str, nodes: list[Node], graph: Graph) -> list[str]:
    """Return lines that give a macro to nodes where nothing else does; nodes in splices cannot be named."""
    own = {node.name for node in graph.nodes.values() if name.lower() in {key.lower() for key in node.variables}}
    if not own:
        return [f"VARS {language.ALL} PREPEND {name}={quoted(value)}"]
    without = [node.name for node in nodes if node.name not in own and "+" not in node.name]
    return [f"VARS {each} PREPEND {name}={quoted(value)}" for each in without]


def quoted(value: str) -> str:
    """Return a value as VARS takes it."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def second_opinion(file: Path, prepared: Prepared, client: Client) -> None:
    """Ask HTCondor's own checker, where it is on this machine.

    Raises
    ------
    CellError
        It has found something that we have not.
    """
    if command.path("condor_dag_checker") is None or prepared.directory != Path.cwd():
        return
    if not file.exists():
        file.write_text(prepared.text)
    try:
        said = command.run(client.pool, "condor_dag_checker", ["-json", str(file)])
        told = json.loads(said.output or b"[]")
    except (InstallError, HTCMagicError, ValueError):
        return
    lines = prepared.text.partition("\n# What htcmagic has added")[0].split("\n")
    for error in told[0].get("Errors", []) if told else []:
        number = int(error.get("SourceLine") or 0)
        inside = 0 < number <= len(lines)
        words = lines[number - 1].split() if inside else []
        raise CellError(
            f"{words[0] if words else ''}: {error['Reason']}".lstrip(": ").rstrip(".") + ".",
            line=number if inside else None,
        )


def shown(prepared: Prepared) -> str:
    """Return what would be sent: the output of ``--dry-run``."""
    number = len(prepared.graph.nodes)
    head = f"# Nothing was sent. {number} node{'' if number == 1 else 's'} in {len(prepared.layers)} layer"
    head += "s: " if len(prepared.layers) != 1 else ": "
    names = [
        ", ".join([*layer[:4], *([f"… {len(layer) - 4} more"] if len(layer) > 4 else [])]) for layer in prepared.layers
    ]
    return "\n".join([head + " → ".join(names), prepared.text.rstrip()])


def safe_name(name: str) -> str:
    """Return a file name for a DAG of this name."""
    return (re.sub(r"[^\w.-]+", "_", name, flags=re.ASCII).strip("._-") or "cell")[:60]
