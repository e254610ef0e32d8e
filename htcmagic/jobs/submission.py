"""From a description and options to jobs: completed, checked, shown or sent."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from htcmagic.errors import CellError, HTCMagicError, PoolError
from htcmagic.jobs import description, items
from htcmagic.jobs.rundir import UNIT_SEPARATOR, Record, RunDir
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
    log: str
    name: str


@dataclass(frozen=True, slots=True)
class Sent:
    """What arrived, and what HTCondor had to say about it."""

    record: Record
    warnings: tuple[str, ...]


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
    over = None if options.over is None else _over(options, body)
    columns = over.columns if over is not None else body.variables
    directory = _directory(options.directory)
    wished = description.wished(body, (*columns, *options.settings))
    borrowed = {name: namespace[name] for name in wished if _lendable(namespace.get(name))}
    lines = [*description.assignments(borrowed), *(f"{k} = {v}" for k, v in options.settings.items())]
    first_line = options.first_line - len(lines)
    text = "\n".join([*lines, body.text])
    queue = "queue" if over is not None or not body.has_queue else f"queue {body.queue}".rstrip()
    call: dict[str, Any] = {"queue": queue, "cwd": str(directory), "first_line": first_line}
    read = client.call("parse", text=text, env=dict(os.environ), **call)
    keys = {name.lower(): value for name, value in read["keys"].items()}
    _no_undefined(keys, body, read["known"], columns, namespace, options)
    text = "\n".join([text, *_completion(keys, options, client, run_dir, over)])
    rows = over.dicts() if over is not None else None
    checked = client.call("check", text=text, items=rows, within_s=SUBMIT_S, **call)
    if options.checked:
        _all_there(checked["missing"], keys)
    first = checked["first"]
    return Submission(
        text=text,
        queue=queue,
        items=over,
        count=options.count,
        directory=directory,
        borrowed=borrowed,
        first=first,
        jobs=_number(checked["items"], body, over, options),
        outputs=(
            keys.get("output", run_dir.default_output("out")),
            keys.get("error", run_dir.default_output("err")),
        ),
        log=str(directory / first.get("initialdir", "") / first["log"]) if first.get("log") else "",
        name=first.get("batch_name", "").strip('"'),
    )


def send(submission: Submission, client: Client, run_dir: RunDir, *, spool: bool = False) -> Sent:
    """Send it in one transaction and keep a record of it.

    Whatever happens, either all jobs are there and the record says so, or none is. After an interrupt or a lost
    connection the schedd is asked; where it does not answer, the record stays without a cluster id and finds its jobs
    when they show up.

    Raises
    ------
    SubmitRefused, ScheddUnreachable, NotAuthorised
        Nothing was sent.
    KeyboardInterrupt
        Nothing was sent.
    """
    record = Record(
        run=run_dir.run,
        name=submission.name,
        pool=client.pool,
        created=time.time(),
        directory=str(submission.directory),
        log=submission.log,
        spool=spool,
        columns=submission.items.columns if submission.items else (),
        outputs=submission.outputs,
    )
    queue = _write(submission, run_dir)
    run_dir.save(record)
    try:
        sent = client.call(
            "submit",
            within_s=SUBMIT_S,
            text=submission.text,
            queue=queue,
            cwd=record.directory,
            env=dict(os.environ),
            mark=run_dir.run,
            spool=spool,
        )
    except (KeyboardInterrupt, PoolError) as error:
        found = _settle(record, client, run_dir, error)
        if found is None:
            raise
        return Sent(found, ())
    except HTCMagicError:
        run_dir.discard()
        raise
    record = replace(record, cluster=sent["cluster"], procs=sent["procs"])
    run_dir.save(record)
    return Sent(record, tuple(sent["warnings"]))


def shown(submission: Submission) -> str:
    """Return what would be sent, the first item's values filled in: the output of ``--dry-run``."""
    number = "an unknown number of" if submission.jobs is None else f"{submission.jobs}"
    head = [f"# Nothing was sent. {number} job{'' if submission.jobs == 1 else 's'}; values are those of the first."]
    hidden = {"htcmagic_nil"} | {c.lower() for c in (submission.items.columns if submission.items else ())}
    lines = [f"{name} = {value}" for name, value in submission.first.items() if name not in hidden]
    first = submission.items.rows[0] if submission.items else ()
    columns = ",".join(submission.items.columns) if submission.items else ""
    more = len(submission.items.rows) - 1 if submission.items else 0
    tail = (
        [submission.queue]
        if not columns
        else [f"queue {columns} from (", "  " + ", ".join(first), f"  # … {more} more", ")"]
    )
    return "\n".join([*head, *lines, *tail])


def _settle(record: Record, client: Client, run_dir: RunDir, error: BaseException) -> Record | None:
    """Find out, after a submission without an answer, whether the jobs are there."""
    try:
        rows = client.call(
            "query",
            within_s=5.0,
            constraint=f'HtcmagicRun == "{record.run}"',
            projection=["ClusterId", "TotalSubmitProcs"],
            limit=1,
            my_jobs=False,
        )[0]
    except (KeyboardInterrupt, HTCMagicError):
        if isinstance(error, PoolError) and error.transient:
            run_dir.discard()  # no connection, so nothing left this machine
        return None
    if not rows:
        run_dir.discard()
        return None
    cluster = int(rows[0][0])
    procs = int(rows[0][1] or 0) or len(client.query(f"ClusterId == {cluster}", ["ProcId"]).rows)
    found = replace(record, cluster=cluster, procs=procs)
    run_dir.save(found)
    return found


def _write(submission: Submission, run_dir: RunDir) -> str:
    """Write what is sent into the run's folder; return the queue statement to use."""
    queue = submission.queue
    count = "" if submission.count is None else f"{submission.count} "
    if submission.items is not None:
        text = "".join(UNIT_SEPARATOR.join(row) + "\n" for row in submission.items.rows)
        run_dir.write(run_dir.items_file, text)
        queue = f"queue {count}{','.join(submission.items.columns)} from {run_dir.items_file}"
    elif submission.count is not None:
        queue = f"queue {count}".rstrip()
    run_dir.write(run_dir.submit_file, f"{submission.text}\n{queue}\n")
    return queue


def _over(options: Options, body: description.Body) -> items.Items:
    found = items.read(options.over, options.over_name)
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
    return found


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
    lines = [f"{name} = {value}" for name, value in options.settings.items()]
    if any(items.NOTHING in value for value in keys.values()) or over is not None:
        lines.append("htcmagic_nil =")
    if options.name:
        lines.append(f"batch_name = {items.text_of(options.name, '--name')}")
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


def _all_there(missing: list[tuple[str, str]], keys: Mapping[str, str]) -> None:
    if not missing:
        return
    kind, path = missing[0]
    more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
    said = {
        "executable": f"the executable {path} does not exist{more}.",
        "folder": f"the executable {path} is a folder.",
        "mode": f"the executable {path} may not be executed.",
        "input": f"the input file {path} does not exist{more}.",
    }[kind]
    hint = {
        "mode": f"Allow it: !chmod +x {path}",
        "executable": "Relative paths start at the notebook's folder. Only on the worker? transfer_executable = false",
    }.get(kind, "Relative paths start at the notebook's folder. To send the jobs all the same: --no-check")
    if "executable" not in keys and kind == "executable":
        said = "the description names no executable."
    raise CellError(said, hint=hint)


def _number(rows: list[Any] | None, body: description.Body, over: items.Items | None, options: Options) -> int | None:
    count = options.count
    if count is None:
        written = re.match(r"(\d+)\b", body.queue)
        count = int(written.group(1)) if written else None if re.match(r"\$", body.queue) else 1
    if count is None or (rows is None and over is None):
        return None
    return count * max(1, len(rows or ()))
