"""HTCondor's DAG language, read: which nodes there are, what they are made of, what depends on what.

What is sent is the text as written; this reading is for the checks, the drawing and the states.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from htcmagic.errors import CellError

ALL = "ALL_NODES"
COMMANDS = frozenset(
    """
    JOB NODE FINAL SERVICE PROVISIONER SUBDAG SPLICE PARENT SCRIPT PRE_SKIP RETRY ABORT-DAG-ON VARS PRIORITY CATEGORY
    MAXJOBS CONFIG ENV DOT NODE_STATUS_FILE JOBSTATE_LOG SAVE_POINT_FILE REJECT DONE SUBMIT-DESCRIPTION INCLUDE CONNECT
    PIN_IN PIN_OUT SET_JOB_ATTR
    """.split()  # noqa: SIM905
)
MAKES_NODES = {"JOB": "job", "NODE": "job", "FINAL": "final", "SERVICE": "service", "PROVISIONER": "provisioner"}
OPENS = re.compile(r"(?:^|\s)(\{|@=\s*(?P<tag>\S+))\s*$")
VALUE = re.compile(r'([\w.+]+)\s*=\s*"((?:[^"\\]|\\.)*)"')
ESCAPED = re.compile(r"\\(.)")
DEEPEST = 20
"""Files that include or splice one another."""


@dataclass(frozen=True, slots=True)
class Description:
    """A submit description written in the DAG itself.

    Attributes
    ----------
    text : str
        Its lines.
    line : int
        Number of the first of them.
    """

    text: str
    line: int


@dataclass(slots=True)
class Node:
    """One node as written.

    Attributes
    ----------
    kind : str
        ``job``, ``final``, ``service``, ``provisioner`` or ``subdag``.
    source : str
        Its submit file, the name of a description in the DAG, or a sub-DAG's file; empty if its description is its own.
    line : int
        Where it is defined; 0 in a file that the text names.
    """

    name: str
    kind: str
    source: str
    line: int
    own: Description | None = None
    directory: str = ""
    noop: bool = False
    done: bool = False
    variables: dict[str, str] = field(default_factory=dict)
    retries: int = 0
    scripts: dict[str, str] = field(default_factory=dict)
    parents: list[str] = field(default_factory=list)
    children: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Graph:
    """A DAG.

    Attributes
    ----------
    nodes : dict
        By name, in the order of the text.
    descriptions : dict
        Those with a name.
    notes : list of str
        What could not be followed.
    """

    nodes: dict[str, Node] = field(default_factory=dict)
    descriptions: dict[str, Description] = field(default_factory=dict)
    edges: dict[tuple[str, str], int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    splices: dict[str, list[str]] = field(default_factory=dict)

    def description(self, node: Node) -> Description | None:
        """Return the submit description that is in the DAG; None where it is in a file."""
        return node.own if node.own is not None else self.descriptions.get(node.source)

    def join(self, parent: str, child: str, line: int) -> None:
        """Have one node wait for another."""
        if (parent, child) not in self.edges:
            self.edges[parent, child] = line
            self.nodes[parent].children.append(child)
            self.nodes[child].parents.append(parent)


@dataclass(frozen=True, slots=True)
class Line:
    """One command.

    Attributes
    ----------
    number : int
        The line in its text, counted from 1.
    words : list of str
        Its words.
    body : Description or None
        The submit description that it opens.
    """

    number: int
    text: str
    words: list[str]
    body: Description | None = None


def read(text: str, directory: Path | None = None) -> Graph:
    """Read a DAG.

    Parameters
    ----------
    directory : Path, optional
        Where the files that it names lie, if not in the current folder.

    Raises
    ------
    CellError
        It cannot be read, or a command names a node that is not there.
    """
    graph = Graph()
    _Reader(graph, directory or Path.cwd(), "").read(text)
    return graph


def lines(text: str) -> Iterator[Line]:
    """Yield the commands of a DAG; each description that one opens goes with it.

    Raises
    ------
    CellError
        A description is not closed.
    """
    rows = text.replace("\r\n", "\n").split("\n")
    number = 0
    while number < len(rows):
        first, row = number, rows[number]
        number += 1
        while row.rstrip().endswith("\\") and not row.lstrip().startswith("#") and number < len(rows):
            row = row.rstrip()[:-1] + " " + rows[number].strip()
            number += 1
        row = row.strip()
        if not row or row.startswith("#"):
            continue
        words = row.split()
        opened = OPENS.search(row) if words[0].upper() in {*MAKES_NODES, "SUBMIT-DESCRIPTION"} else None
        if opened is None:
            yield Line(first + 1, row, words)
            continue
        start, end = number, f"@{opened.group('tag')}" if opened.group("tag") else "}"
        while number < len(rows) and not _closes(rows[number], end):
            number += 1
        if number == len(rows):
            raise CellError(
                f"the submit description that {' '.join(words[:2])} opens is not closed.",
                line=first + 1,
                hint=f"Close it with {end} on a line of its own.",
            )
        trailer = rows[number].strip()[len(end) :].split()
        body = Description("\n".join(rows[start:number]), start + 1)
        number += 1
        yield Line(first + 1, row, [*row[: opened.start()].split(), *trailer], body)


def _closes(row: str, end: str) -> bool:
    return row.strip() == end or row.strip().startswith(f"{end} ")


class _Reader:
    """Reads one text into a graph; another one for each splice."""

    def __init__(self, graph: Graph, directory: Path, prefix: str, files: tuple[Path, ...] = ()) -> None:
        self.graph = graph
        self.directory = directory
        self.prefix = prefix
        self.files = files

    def read(self, text: str) -> None:
        found = list(lines(text))
        self.expand(found)
        for line in found:
            self.node(line)
        for line in found:
            self.relation(line)

    def expand(self, found: list[Line]) -> None:
        """Put the commands of included files in their place."""
        at = 0
        while at < len(found):
            if found[at].words[0].upper() == "INCLUDE":
                path, text = self.file(found[at], 1)
                self.files = (*self.files, path)
                found[at : at + 1] = [Line(found[at].number, each.text, each.words, each.body) for each in lines(text)]
                continue
            at += 1

    def file(self, line: Line, word: int) -> tuple[Path, str]:
        """Return a file that a command names, and what is in it."""
        if len(line.words) <= word:
            raise self.wrong(line, f"{line.words[0].upper()} names no file.")
        path = (self.directory / line.words[word]).absolute()
        if len(self.files) >= DEEPEST:
            raise self.wrong(line, f"{line.words[word]}: these files name one another without end.")
        try:
            return path, path.read_text(errors="replace")
        except OSError:
            raise self.wrong(line, f"the file {line.words[word]} does not exist.") from None

    def wrong(self, line: Line, message: str, hint: str = "") -> CellError:
        inside = f" (in {self.files[-1].name})" if self.files else ""
        return CellError(message.rstrip(".") + f"{inside}.", line=line.number, hint=hint)

    def node(self, line: Line) -> None:
        """Take in a command that makes something."""
        command = line.words[0].upper()
        if command not in COMMANDS:
            raise self.unknown_command(line)
        if command in MAKES_NODES:
            self.add(line, MAKES_NODES[command], line.words[1:])
        elif command == "SUBDAG":
            self.add(line, "subdag", line.words[2:] if line.words[1:2] and line.words[1].upper() == "EXTERNAL" else [])
        elif command == "SUBMIT-DESCRIPTION" and len(line.words) > 1 and line.body is not None:
            self.graph.descriptions[self.prefix + line.words[1]] = line.body
        elif command == "SPLICE":
            self.splice(line)

    def unknown_command(self, line: Line) -> CellError:
        import difflib  # noqa: PLC0415 - only after a slip

        near = difflib.get_close_matches(line.words[0].upper(), COMMANDS, n=1)
        hint = "A line begins with JOB, PARENT, VARS, RETRY, SCRIPT, … or with # for a comment."
        if "=" in line.text and not near:
            hint = "Submit commands stand between { and }:  JOB NAME {  …  }  or  SUBMIT-DESCRIPTION NAME {  …  }"
        return self.wrong(line, f"{line.words[0]} is no DAG command", f"Did you mean {near[0]}?" if near else hint)

    def add(self, line: Line, kind: str, words: list[str]) -> None:
        if not words or (len(words) < 2 and line.body is None):
            example = "JOB fit fit.sub   or   JOB fit {  executable = …  }"
            raise self.wrong(
                line, f"{line.words[0].upper()} wants a name and a submit description", f"Example: {example}"
            )
        name = self.prefix + words[0]
        if name in self.graph.nodes:
            first = self.graph.nodes[name].line
            raise self.wrong(line, f"there are two nodes named {name}; the first is in line {first}")
        if "+" in words[0] or words[0].upper() in {ALL, "PARENT", "CHILD"}:
            raise self.wrong(line, f"{words[0]} cannot be a node's name", "Without + and not a word of the language.")
        rest = words[1:] if line.body is not None else words[2:]
        source = "" if line.body is not None else words[1]
        if self.prefix and self.prefix + source in self.graph.descriptions:
            source = self.prefix + source
        upper = [word.upper() for word in rest]
        directory = rest[upper.index("DIR") + 1] if "DIR" in upper[:-1] else ""
        self.graph.nodes[name] = Node(
            name,
            kind,
            source,
            line.number,
            own=line.body,
            directory=directory,
            noop="NOOP" in upper,
            done="DONE" in upper,
        )

    def splice(self, line: Line) -> None:
        path, text = self.file(line, 2)
        upper = [word.upper() for word in line.words]
        directory = self.directory
        if "DIR" in upper[:-1]:
            directory = self.directory / line.words[upper.index("DIR") + 1]
            path = (directory / line.words[2]).absolute()
            text = path.read_text(errors="replace") if path.exists() else text
        name = self.prefix + line.words[1]
        before = set(self.graph.nodes)
        _Reader(self.graph, directory, f"{name}+", (*self.files, path)).read(text)
        made = [each for each in self.graph.nodes if each not in before]
        for each in made:
            self.graph.nodes[each].line = line.number
        self.graph.splices[name] = made

    def relation(self, line: Line) -> None:
        """Take in a command about nodes that are there."""
        command, words = line.words[0].upper(), line.words
        does = {
            "PARENT": self.parents,
            "VARS": self.variables,
            "RETRY": self.retry,
            "SCRIPT": self.script,
            "MAXJOBS": self.maxjobs,
        }
        if command in does:
            does[command](line)
        elif command in {"PRIORITY", "CATEGORY", "PRE_SKIP", "ABORT-DAG-ON", "DONE"}:
            for node in self.named(line, words[1:2]):
                node.done = node.done or command == "DONE"
        elif command == "CONNECT" or command.startswith("PIN_"):
            self.graph.notes.append(f"line {line.number}: {command} is sent, but its edges are not drawn")

    def maxjobs(self, line: Line) -> None:
        number = line.words[2] if len(line.words) > 2 else ""
        if not re.fullmatch(r"\d+", number):
            raise self.wrong(line, "MAXJOBS wants a category and a number", "Example: MAXJOBS fits 10")
        if int(number) == 0:
            hint = "At least 1. To send no jobs for a while, halt the DAG when it runs: .halt()"
            raise self.wrong(line, f"MAXJOBS {line.words[1]} 0: no node of that category would ever run", hint)

    def parents(self, line: Line) -> None:
        upper = [word.upper() for word in line.words]
        if "CHILD" not in upper or upper.index("CHILD") in {1, len(upper) - 1}:
            raise self.wrong(line, "PARENT names parents, then CHILD and children", "Example: PARENT a b CHILD c")
        cut = upper.index("CHILD")
        uppers = self.side(line, line.words[1:cut], last=True)
        lowers = self.side(line, line.words[cut + 1 :], last=False)
        for parent in uppers:
            for child in lowers:
                if parent == child:
                    raise self.wrong(line, f"{child} is its own parent")
                self.graph.join(parent, child, line.number)

    def side(self, line: Line, names: Iterable[str], *, last: bool) -> list[str]:
        """Return nodes by name; of a splice its first or last ones."""
        found: list[str] = []
        for name in names:
            inner = self.graph.splices.get(self.prefix + name)
            if inner is None:
                found += [node.name for node in self.named(line, [name])]
                continue
            nodes = [self.graph.nodes[each] for each in inner]
            found += [node.name for node in nodes if not (node.children if last else node.parents)]
        return found

    def named(self, line: Line, names: list[str]) -> list[Node]:
        """Return nodes that a command names."""
        if not names:
            raise self.wrong(line, f"{line.words[0].upper()} names no node")
        if names[0].upper() == ALL:
            return [node for node in self.graph.nodes.values() if node.name.startswith(self.prefix)]
        name = self.prefix + names[0]
        if name not in self.graph.nodes:
            import difflib  # noqa: PLC0415 - only after a slip

            near = difflib.get_close_matches(name, self.graph.nodes, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"Define it: JOB {names[0]} …"
            raise self.wrong(line, f"{line.words[0].upper()} names {names[0]}, and there is no such node", hint)
        return [self.graph.nodes[name]]

    def variables(self, line: Line) -> None:
        values = {key: ESCAPED.sub(r"\1", value) for key, value in VALUE.findall(line.text)}
        if not values:
            raise self.wrong(line, "VARS wants a node and values in quotes", 'Example: VARS fit mass="500"')
        for node in self.named(line, line.words[1:2]):
            node.variables.update(values)

    def retry(self, line: Line) -> None:
        number = line.words[2] if len(line.words) > 2 else ""
        if not re.fullmatch(r"\d+", number):
            raise self.wrong(line, "RETRY wants a node and a number", "Example: RETRY fit 3")
        for node in self.named(line, line.words[1:2]):
            node.retries = int(number)

    def script(self, line: Line) -> None:
        upper = [word.upper() for word in line.words]
        at = next((at for at, word in enumerate(upper) if word in {"PRE", "POST", "HOLD"}), 0)
        if not at or len(line.words) < at + 3:
            raise self.wrong(
                line, "SCRIPT wants PRE, POST or HOLD, a node and a program", "Example: SCRIPT PRE fit ./get.sh"
            )
        for node in self.named(line, line.words[at + 1 : at + 2]):
            node.scripts[upper[at]] = " ".join(line.words[at + 2 :])
