"""From a description and options to jobs: completed, checked, shown or sent."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from htcmagic.errors import (
    CellError,
)
from htcmagic.jobs import description, items
from htcmagic.jobs.items import Items
from htcmagic.jobs.rundir import RunDir
from htcmagic.pool.client import SUBMIT_S, Client

SHOWN = 4
"""Problems named in a message; the others are counted."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a user may say beside the description.

    Attributes
    ----------
    over : object
        Queue items, any iterable; None for the description's own queue statement.
    over_name : str
        How the user calls them.
    settings : mapping
        Submit commands or macros that win over the description's.
    count : int or None
        Jobs per item.
    """

    over: Any = None
    over_name: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    count: int | None = None
    name: str = ""
    max_idle: int | None = None
    max_materialize: int | None = None
    directory: str = ""
    hold: bool = False
    spool: bool = False
    checked: bool = True
    first_line: int = 1
    environment: str = ""
    """Where the jobs run, if not just anywhere: ``kernel belle2``."""


@dataclass(frozen=True, slots=True)
class Submission:
    """Everything that is to be sent, printable before it is."""

    text: str
    queue: str
    items: items.Items | None
    count: int | None
    directory: Path
    borrowed: dict[str, object]
    """Macros taken from notebook variables."""
    first: dict[str, str]
    """The description's values, expanded for the first item."""
    jobs: int | None
    """How many jobs there will be; None where only HTCondor can tell."""
    outputs: tuple[str, str]
    initialdir: str
    log: str
    name: str
    first_line: int
    """Number of the text's first line in the cell: below 1 where lines were put before it."""
    listed: Items | None
    """The items of the description's own queue statement, as far as they are known before it is sent."""
    notes: tuple[str, ...]
    """What is probably a slip, one line each."""
    environment: str


def prepare(
    cell: str, options: Options, namespace: Mapping[str, object], client: Client, run_dir: RunDir
) -> Submission:
    """Complete and check a description; nothing is sent.

    Raises
    ------
    CellError
        It cannot be read, uses a macro that nothing defines, or names files that are not there.
    PoolError
        There is nobody to ask.
    """
    body = description.split(cell)
    over, count = (None, options.count) if options.over is None else _over(options, body)
    columns = over.columns if over is not None else body.variables
    directory = _directory(options.directory)
    settings = [f"{name} = {value}" for name, value in options.settings.items()]
    wished = description.wished(replace(body, text="\n".join([*settings, body.text])), columns)
    borrowed = {name: namespace[name] for name in wished if _lendable(namespace.get(name))}
    lines = [*description.assignments(borrowed), *settings]
    first_line = options.first_line - len(lines)
    text = "\n".join([*lines, body.text])
    queue = "queue" if over is not None else _queue(options, body)
    call: dict[str, Any] = {"queue": queue, "cwd": str(directory)}
    read = client.call("parse", text=text, env=dict(os.environ), first_line=first_line, **call)
    keys = {name.lower(): value for name, value in read["keys"].items()}
    _no_undefined(keys, body, read["known"], columns, namespace, options)
    text = "\n".join([text, *_completion(keys, options, client, run_dir, over)])
    call["items"] = over.dicts() if over is not None else None
    call["queue_line"] = options.first_line + body.text.count("\n") + 1
    checked = client.call("check", text=text, columns=columns, within_s=SUBMIT_S, **call)
    if options.checked:
        _all_there(checked["missing"])
    first = checked["first"]
    return Submission(
        text=text,
        queue=queue,
        items=over,
        count=count,
        directory=directory,
        borrowed=borrowed,
        first=first,
        jobs=_number(checked["items"], body, over, count),
        outputs=_outputs(keys, run_dir),
        initialdir=keys.get("initialdir", ""),
        log=_log(first, directory) if client.schedd.local and not options.spool else "",
        name=first.get("batch_name", "").strip('"'),
        first_line=first_line,
        listed=_listed(checked["items"]) if over is None else None,
        notes=tuple(_note(name, meant, body, options) for name, meant in description.unused(read["keys"], body)),
        environment=options.environment,
    )


def shown(submission: Submission) -> str:
    """Return what would be sent, the first item's values filled in: the output of ``--dry-run``."""
    number = "an unknown number of" if submission.jobs is None else f"{submission.jobs}"
    head = [f"# Nothing was sent. {number} job{'' if submission.jobs == 1 else 's'}; values are those of the first."]
    if submission.environment:
        head.append(f"# They run in the environment of {submission.environment}.")
    hidden = {"htcmagic_nil"} | {c.lower() for c in (submission.items.columns if submission.items else ())}
    lines = [f"{name} = {value}" for name, value in submission.first.items() if name not in hidden]
    shown = submission.items.shown() if submission.items else items.Items((), [()])
    first, columns, more = shown.rows[0], ",".join(shown.columns), len(shown.rows) - 1
    tail = (
        [submission.queue]
        if not columns
        else [f"queue {columns} from (", "  " + ", ".join(first), f"  # … {more} more", ")"]
    )
    return "\n".join([*head, *lines, *tail])


def _outputs(keys: Mapping[str, str], run_dir: RunDir) -> tuple[str, str]:
    return keys.get("output", run_dir.default_output("out")), keys.get("error", run_dir.default_output("err"))


def _log(first: Mapping[str, str], directory: Path) -> str:
    return str(directory / first.get("initialdir", "") / first["log"]) if first.get("log") else ""


def _listed(rows: list[dict[str, str]] | None) -> items.Items | None:
    if not rows:
        return None
    columns = tuple(rows[0])
    return items.Items(columns, [tuple(row.get(column, "") for column in columns) for row in rows])


def _note(name: str, meant: str, body: description.Body, options: Options) -> str:
    line = description.line_of(body.text, name)
    where = "" if line is None else f"line {line + options.first_line - 1}: "
    return (
        f"Warning: {where}{name} is no submit command, and nothing uses it.{f' Did you mean {meant}?' if meant else ''}"
    )


def _queue(options: Options, body: description.Body) -> str:
    """Return the description's own queue statement, with ``--count`` in it."""
    if options.count is None:
        return f"queue {body.queue}".rstrip()
    if re.match(r"[\d$]", body.queue):
        raise CellError(
            f"--count {options.count} and queue {body.queue.split()[0]} both say how many jobs.", hint="Leave one out."
        )
    return f"queue {options.count} {body.queue}".rstrip()


def _over(options: Options, body: description.Body) -> tuple[items.Items, int | None]:
    """Return the items, and how many jobs of each."""
    found = options.over if isinstance(options.over, Items) else items.read(options.over, options.over_name)
    names = re.fullmatch(r"(?P<count>\d+)?\s*(?P<names>[A-Za-z_]\w*(?:[\s,]+\w+)*)?", body.queue)
    if body.has_queue and not names:
        raise CellError(
            f"--over {options.over_name} gives the items, and so does the cell's queue statement.",
            hint="End the cell with a bare queue, or leave --over out.",
        )
    if names and names.group("names"):
        columns = tuple(re.split(r"[\s,]+", names.group("names")))
        if len(columns) != len(found.columns):
            raise CellError(
                f"queue names {len(columns)} macros, the items of {options.over_name} have {len(found.columns)}."
            )
        found = items.Items(columns, found.rows)
    written = names.group("count") if names else None
    if written and options.count is not None:
        raise CellError(f"--count {options.count} and queue {written} both say how many jobs.", hint="Leave one out.")
    return found, int(written) if written else options.count


def _directory(named: str) -> Path:
    directory = Path(named or ".").expanduser().absolute()
    if not directory.is_dir():
        raise CellError(f"--dir {named}: there is no such folder.")
    return directory


def _lendable(value: object) -> bool:
    return isinstance(value, str | int | float | Path) or (
        callable(getattr(value, "item", None)) and getattr(value, "ndim", 1) == 0
    )


def _no_undefined(
    keys: Mapping[str, str],
    body: description.Body,
    known: list[str],
    columns: tuple[str, ...],
    namespace: Mapping[str, object],
    options: Options,
) -> None:
    missing = description.undefined(
        keys, "" if options.over is not None else body.queue.partition("\n")[0], known, columns
    )
    if not missing:
        return
    name = missing[0]
    line = description.line_using(body.text, name)
    said = f"the macro $({name}) is not defined"
    if name in namespace:
        said += f", and the notebook's variable {name} is a {type(namespace[name]).__name__}"
        hint = f"A macro takes str, int, float or Path. For a list of jobs: --over {name}"
    else:
        hint = (
            f"Set a variable {name} in the notebook, write {name} = … in the cell, or give a default: $({name}:value)"
        )
    others = "" if len(missing) == 1 else f" (nor {', '.join(missing[1:SHOWN])})"
    raise CellError(f"{said}{others}.", hint=hint, line=None if line is None else line + options.first_line - 1)


def _completion(
    keys: Mapping[str, str], options: Options, client: Client, run_dir: RunDir, over: items.Items | None
) -> list[str]:
    """Return lines to add: options, and what the description leaves open."""
    schedd = client.schedd
    lines = [""]  # in case that the cell ends in a backslash
    if any(items.NOTHING in value for value in keys.values()) or over is not None:
        lines.append("htcmagic_nil =")
    if options.name:
        lines.append(f"batch_name = {items.text_of(options.name, '--name')}")
    lines += [f"{name} = {value}" for name, value in options.settings.items()]  # again, to win over the cell's
    lines += [f"{name} = {run_dir.default_output(name[:3])}" for name in ("output", "error") if name not in keys]
    if "log" not in keys and schedd.local and not options.spool:
        lines.append(f"log = {run_dir.event_log}")
    if options.max_idle is not None:
        lines.append(f"max_idle = {options.max_idle}")
    if options.max_materialize is not None:
        lines.append(f"max_materialize = {options.max_materialize}")
    if options.hold:
        lines.append("hold = true")
    return lines


def _all_there(missing: list[tuple[str, str]]) -> None:
    if not missing:
        return
    kind, path = missing[0]
    more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
    said = {
        "executable": f"the executable {path} does not exist{more}.",
        "folder": f"the executable {path} is a folder.",
        "mode": f"the executable {path} may not be executed.",
        "input": f"the input file {path} does not exist{more}.",
        "nothing": "the description names no executable.",
        "output": f"the folder of {path} does not exist, so the job would be held{more}.",
    }[kind]
    hint = {
        "mode": f"Allow it: !chmod +x {path}",
        "nothing": "For example: executable = /bin/echo",
        "folder": "Name the program in it.",
        "output": f"Make it: !mkdir -p {shlex.quote(str(Path(path).parent))}",
        "executable": "Relative paths start at the notebook's folder. Only on the worker? transfer_executable = false",
    }.get(kind, "Relative paths start at the notebook's folder. To send the jobs all the same: --no-check")
    raise CellError(said, hint=hint)


def _number(rows: list[Any] | None, body: description.Body, over: items.Items | None, count: int | None) -> int | None:
    if count is None:
        written = re.match(r"(\d+)\b", body.queue)
        count = int(written.group(1)) if written else None if re.match(r"\$", body.queue) else 1
    if count is None or (rows is None and over is None):
        return None
    return count * max(1, len(rows or ()))
