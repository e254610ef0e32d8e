"""The door's half that reads, checks, expands and submits descriptions."""

from __future__ import annotations

import ctypes
import os
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import classad2  # noqa: F401 - htcondor2 wants it first
import htcondor2

from htcmagic.errors import CellError, PoolError, SubmitRefused
from htcmagic.pool import door
from htcmagic.pool.address import Pool

QUEUED_BY_SCRIPT = re.compile(r"\|\s*$")
FOREACH = re.compile(r"\b(?:in|from|matching)\b", re.IGNORECASE)
SLICE = re.compile(r"\bfrom\s+\[([^\]]*)\]|\b(?:in|matching\s+\w*)\s+\[([^\]]*)\]", re.IGNORECASE)
COMMAND_INCLUDE = re.compile(r"^\s*include\s+command\b", re.IGNORECASE)
MACRO = re.compile(r"\$(?:\w+)?\(\s*(\w+)")
FILES = frozenset({"executable", "input", "transfer_input_files", "initialdir"})
"""Commands that name files on this machine."""
NOT_YET = frozenset({"cluster", "clusterid", "submit_time"})
"""Macros without a value before submission."""
CHECKED_UNIVERSES = {"", "vanilla", "local", "scheduler", "parallel", "container", "docker"}


class Verbatim(htcondor2.Submit):  # type: ignore[misc]
    """A description that is handed on as written.

    ``Schedd.submit`` writes a description anew from its pairs, which loses values of several lines (``name @=tag``).
    This one gives itself as a single pair: all of the text, then an attribute of ours.
    """

    def __init__(self, text: str, queue: str, mark: str) -> None:
        super().__init__(f"{text}\n{queue}\n")
        self._queue = queue[len("queue") :].strip()
        self._pair = (f"{text}\nMY.HtcmagicRun", f'"{mark}"')

    def items(self) -> Any:
        """Return the one pair."""
        return [self._pair]

    def getQArgs(self) -> str:  # noqa: N802 - the bindings' name
        """Return the queue statement's arguments with all of their list: the bindings forget its first line."""
        return self._queue


def enter(cwd: str, env: dict[str, str] | None) -> None:
    """Stand where the notebook stands, with the environment that it has now (``getenv``, ``$ENV()``)."""
    os.chdir(cwd)
    if env is not None:
        ours = {k: v for k, v in os.environ.items() if k.upper().startswith(("CONDOR_", "_CONDOR_"))}
        theirs = {k: v for k, v in env.items() if not k.upper().startswith(("CONDOR_", "_CONDOR_"))}
        os.environ.clear()
        os.environ.update({**theirs, **ours})


def parse(
    _pool: Pool, text: str, queue: str, cwd: str, env: dict[str, str] | None = None, *, first_line: int = 1
) -> dict[str, Any]:
    """Read a description.

    Returns
    -------
    dict
        ``keys``: raw values by name as written; ``known``: which macro names used in them the configuration defines.
    """
    enter(cwd, env)
    said_before = os.fstat(2).st_size
    try:
        submit = htcondor2.Submit(f"{text}\n{queue}\n")
    except ValueError:
        raise syntax_error(text, door.stderr_since(said_before), first_line) from None
    pairs = {key: submit.get(key, "") for key in submit}  # items() stumbles over empty values
    used = {name.lower() for value in [*pairs.values(), queue] for name in MACRO.findall(value)}
    return {"keys": pairs, "known": [name for name in used if htcondor2.param.get(name) is not None]}


def syntax_error(text: str, said: str, first_line: int) -> CellError:
    """Find the first line after which no more of the description can be read."""
    lines = ["" if COMMAND_INCLUDE.match(line) else line for line in text.split("\n")]
    good = 0
    for end in range(len(lines), 0, -1):
        try:
            htcondor2.Submit("\n".join(lines[:end]) + "\n")
        except ValueError:
            continue
        good = end
        break
    bad = min(good, len(lines) - 1)
    while bad < len(lines) - 1 and not lines[bad].strip():
        bad += 1
    shown = text.split("\n")[bad].strip()
    reason = re.search(r"error: '(.+?)' line:", said) or re.search(r"(?:ERROR|error)[^\n]*?: ([^\n]+)", said)
    said_itself = re.match(r"error\s*:\s*(.*)", shown, re.IGNORECASE)
    if said_itself:
        return CellError(f"the description itself says: {said_itself.group(1)}", line=first_line + bad)
    if reason:
        why = f": {reason.group(1)}"
    elif "=" not in shown:
        why = " is not of the form  name = value"
    else:
        why = " cannot be read"
    return CellError(
        f"{shown}{why}.".replace("..", "."),
        line=first_line + bad,
        hint="The body is HTCondor's submit language: name = value, if/else/endif, include, queue.",
    )


def items_of(submit: Any, queue: str) -> list[dict[str, str]] | None:
    """Return the items of the description's own queue statement, [] without any; None where only submitting can tell.

    Raises
    ------
    ValueError
        The statement cannot be read, or gives no items.
    """
    if QUEUED_BY_SCRIPT.search(queue):
        return None
    try:
        data = submit.itemdata()
    except ValueError as error:
        if str(error) != "invalid qargs":
            raise
        return None  # the bindings do not show us lists with empty lines; submission takes them
    if data is None:
        if FOREACH.search(queue):
            raise ValueError("it gives no items, so there is no job to send")
        return []
    rows = [row if isinstance(row, dict) else {"Item": row} for row in data]
    found = SLICE.search(queue)
    if found:
        parts = (found.group(1) or found.group(2) or "").split(":")
        numbers = [int(part) if part.strip() else None for part in parts]
        rows = rows[slice(*numbers)] if len(numbers) > 1 else rows[numbers[0] :]
    if not rows:
        raise ValueError("the slice leaves no items, so there is no job to send")
    return rows


def check(
    _pool: Pool,
    text: str,
    queue: str,
    cwd: str,
    *,
    items: list[dict[str, str]] | None,
    columns: tuple[str, ...] = (),
    queue_line: int = 1,
) -> dict[str, Any]:
    """Look for what would fail later: a bad queue statement, no executable, files that are not there.

    Parameters
    ----------
    items : list of dict or None
        The items, where they do not come from the queue statement.
    columns : tuple of str
        Names of the macros that items give values to.
    queue_line : int
        Line of the queue statement, for messages.

    Returns
    -------
    dict
        ``items``: the items (None: unknown); ``first``: values expanded for the first item; ``missing``: problems
        found, as pairs of a kind and a path.
    """
    enter(cwd, None)
    submit = htcondor2.Submit(f"{text}\n{queue}\n")
    if items is None:
        try:
            items = items_of(submit, queue)
        except ValueError as error:
            reason = re.sub(r" on line \d+$", "", str(error))
            raise CellError(
                f"{queue.splitlines()[0]}: {reason}.",
                line=queue_line,
                hint="For example: queue 5, queue x in (a, b), queue x,y from items.txt, queue f matching files *.dat",
            ) from None
    first: dict[str, str] = {}
    missing: dict[tuple[str, str], None] = {}
    known = {name.lower() for name in ((items or [{}])[0])}
    unknown = {name.lower() for name in columns} - known | NOT_YET
    doubtful = {key.lower() for key in submit if key.lower() in FILES and depends(submit, [key], unknown)}
    for row in expansions(submit, items or [{}], known):
        first = first or row
        missing.update(dict.fromkeys(absent(first | row, Path(cwd), doubtful)))
    return {"items": items, "first": first, "missing": list(missing)}


def expansions(submit: Any, items: list[dict[str, str]], columns: set[str]) -> Iterator[dict[str, str]]:
    """Yield the description's values, expanded item by item; only once where no item matters to the files named."""
    keys = list(submit)
    wanted = [key for key in keys if key.lower() in FILES]
    for number, row in enumerate(items):
        for name, value in row.items():
            submit[name] = value
        names = keys if number == 0 else wanted
        yield {key.lower(): expanded(submit, key) for key in names if submit.get(key) and key.lower() not in columns}
        if number == 0 and not depends(submit, wanted, columns):
            return


def expanded(submit: Any, key: str) -> str:
    """Return a value with its macros filled in; the bindings raise where nothing is left of it."""
    try:
        return str(submit.expand(key))
    except KeyError:
        return ""


def depends(submit: Any, wanted: list[str], columns: set[str]) -> bool:
    """Whether any of these values changes with the items, directly or through other macros."""
    seen: set[str] = set()
    todo = list(wanted)
    while todo:
        for name in MACRO.findall(submit.get(todo.pop(), "") or ""):
            if name.lower() in columns:
                return True
            if name.lower() not in seen:
                seen.add(name.lower())
                todo.append(name)
    return False


def absent(row: dict[str, str], cwd: Path, doubtful: set[str]) -> Iterator[tuple[str, str]]:
    """Yield what one job needs from this machine and does not find; values of `doubtful` are not known yet."""
    if "executable" not in doubtful:
        yield from absent_program(row, cwd)
    if "initialdir" in doubtful:
        return
    initial = cwd / row.get("initialdir", "")
    for stream in {"output", "error"} - doubtful:
        name = row.get(stream, "").strip()
        if name and "$$" not in name and not (initial / name).parent.is_dir():
            yield "output", name
    names = [] if "input" in doubtful else [row.get("input", "").strip()]
    if "transfer_input_files" not in doubtful:
        names += [part.strip().strip('"') for part in row.get("transfer_input_files", "").split(",")]
    for name in names:
        if name and "$$" not in name and "://" not in name and not (initial / name).exists():
            yield "input", name


def absent_program(row: dict[str, str], cwd: Path) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with a job's executable, where it has to be on this machine."""
    universe = row.get("universe", "").strip().lower()
    contained = universe in {"container", "docker"} or "container_image" in row or "docker_image" in row
    program = row.get("executable", "").strip()
    if universe not in CHECKED_UNIVERSES or contained or "$$" in program:
        return
    path = cwd / program
    if not program:
        yield "nothing", ""
    elif row.get("transfer_executable", "true").strip().lower() in {"false", "0", "no"}:
        return
    elif not path.exists():
        yield "executable", program
    elif path.is_dir():
        yield "folder", program
    elif not os.access(path, os.X_OK):
        yield "mode", program


def submit(
    pool: Pool, text: str, queue: str, cwd: str, env: dict[str, str] | None, *, mark: str, spool: bool, first_line: int
) -> dict[str, Any]:
    """Send a description in one transaction.

    Parameters
    ----------
    queue : str
        The queue statement, with its inline items if it has some.
    mark : str
        Our own name of this submission; the jobs carry it as ``HtcmagicRun``.
    first_line : int
        Number of the text's first line, for messages.
    """
    enter(cwd, env)
    description = Verbatim(text, queue, mark)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            result = door.schedd_of(pool).submit(description, spool=spool)
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(None))  # 25.14 drops one reference to None a call; 0 is fatal
            if spool:
                door.schedd_of(pool).spool(result)
    except (htcondor2.HTCondorException, ValueError) as error:
        translated = door.translate(error, pool)
        raise refused(text, error, first_line) if type(translated) is PoolError else translated from None
    ad = result.clusterad()
    return {
        "cluster": int(result.cluster()),
        "procs": int(result.num_procs()),
        "iwd": str(ad.get("Iwd", cwd)),
        "warnings": [" ".join(str(warning.message).split()) for warning in caught],
    }


def refused(text: str, error: Exception, first_line: int) -> SubmitRefused | CellError:
    """Say what the schedd or the reader of descriptions did not like, with the line where that can be told."""
    if re.search(r"expected next ProcId|errno=-\d", str(error)):
        return SubmitRefused(
            "The schedd took none of these jobs: there are more than one submission or one user may have.",
            hint="Send fewer at once (its MAX_JOBS_PER_SUBMISSION), or let it make them bit by bit: --max-idle 100",
        )
    said = " ".join(re.sub(r"Failed to create job ad, ?|errmsg=|[A-Z][a-z]+:-?\d+:", " ", str(error)).split())
    blamed = re.search(r"expression: (?:MY\.)?(\w+) =", said)
    for number, line in enumerate(text.split("\n"), first_line):
        key = re.match(r"\s*(?:\+|MY\.)?(\w+)\s*=", line)
        if blamed and key and key.group(1).lower().replace("_", "") == blamed.group(1).lower().replace("_", ""):
            return CellError(said, line=number if number > 0 else None, hint="Nothing was submitted.")
    return SubmitRefused(said, hint="Nothing was submitted. See what would be sent: --dry-run")


OPERATIONS: dict[str, Callable[..., Any]] = {"parse": parse, "check": check, "submit": submit}
