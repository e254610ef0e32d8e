"""A script as a job: from a cell's text and its items to a description and files; pure.

Without an environment the script itself is the executable, and HTCondor carries the items in its own quoting. In the
environment of a kernel, and for values that HTCondor cannot carry (line breaks, ``$$(…)``), the executable is one file
that holds everything: the script, the kernel's ``setup.sh``, and ``job.bash``, which writes the two into the job's
scratch folder, runs the set-up and becomes the script. So it does not matter whether the job sees the notebook's files.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from importlib.resources import files as package_files
from pathlib import Path

from htcmagic.errors import CellError
from htcmagic.jobs import commands, description, items
from htcmagic.jobs.items import Items
from htcmagic.jobs.submission import Options
from htcmagic.kernels.environment import JobEnvironment

BASH = "#!/bin/bash"
SCRIPT, JOB = "script", "job.sh"
"""Names of the files in a run's folder."""
ALONE = "item"
"""Variable of items that are scalars; ``item0``, ``item1`` … of tuples."""
VARIABLES = {"JOB_CLUSTER": "$(ClusterId)", "JOB_PROC": "$(ProcId)"}
"""What a script is told of its job; HTCondor itself says neither."""
TAKEN = frozenset(
    """
    PATH HOME USER LOGNAME SHELL PWD OLDPWD TMPDIR TEMP TMP IFS ENV LD_LIBRARY_PATH LD_PRELOAD PYTHONHOME PYTHONPATH
    BASHOPTS BASHPID DIRSTACK EUID FUNCNAME GROUPS HISTCMD HOSTNAME LINENO OPTARG OPTIND PIPESTATUS PPID RANDOM SECONDS
    SHELLOPTS SHLVL SRANDOM UID EPOCHSECONDS EPOCHREALTIME _
    """.split()  # noqa: SIM905
)
"""Variables that a job or its shell cannot do without, or that a shell does not let anybody set."""
BEYOND = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]|\$\$\w*[(\[]|\$\(dollar\)", re.IGNORECASE)
"""What does not come through HTCondor as it is."""
EVALUATED = re.compile(r"[$`\\]")
"""What Apptainer's shell makes something else of in the values that HTCondor hands it for an image."""
QUOTED = re.compile(r"[\s'\"]|\$\(|\A\Z")
ARGUMENTS, ENVIRONMENT = f"{items.OWN}arguments", f"{items.OWN}environment"
OURS = ("executable", "queue", "cmd")


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be submitted.

    Attributes
    ----------
    text : str
        The description.
    options : Options
        The user's, with the items as HTCondor gets them.
    files : mapping of str to str
        Name and content of what belongs in the run's folder; all of it executable.
    """

    text: str
    options: Options
    files: Mapping[str, str]
    notes: tuple[str, ...] = ()
    """What the user should know, one line each."""


def read(cell: str) -> str:
    """Return a cell as a script: with its ``#!`` line, or else bash's.

    Raises
    ------
    CellError
        It is empty, or its ``#!`` line is not one.
    """
    text = cell.replace("\r\n", "\n").rstrip("\n") + "\n"
    if not text.strip():
        raise CellError("there is no script.", hint="Write it below the magic's line.")
    if "\0" in text:
        raise CellError("a script cannot hold a NUL character.")
    before, mark, rest = text.partition("#!")
    if mark and not before.strip() and before:
        raise CellError(
            "the #! line must be the first, and start at its left.", line=before.count("\n") + 1, hint="Move it up."
        )
    if not text.startswith("#!"):
        return f"{BASH}\n{text}"
    program = rest.partition("\n")[0].strip()
    if not program.startswith("/"):
        name = (program.split() or ["bash"])[0].rpartition("/")[2]
        raise CellError(
            f"#!{program} names no program by its full path.",
            line=1,
            hint=f"To have it looked up on PATH: #!/usr/bin/env {name}",
        )
    return text


def plan(
    cell: str,
    options: Options,
    environment: JobEnvironment | None,
    folder: Path,
    *,
    inputs: str = "",
    here: bool = False,
) -> Job:
    """Return what to submit.

    Parameters
    ----------
    cell : str
        The script.
    options : Options
        The user's: its ``over`` are the items, its ``settings`` submit commands.
    environment : JobEnvironment or None
        Where to run it.
    folder : Path
        The run's folder.
    inputs : str
        Files that go along, separated by commas.
    here : bool
        Whether jobs see this machine's files.

    Raises
    ------
    CellError
        The script, an item or a setting cannot be used.
    """
    script = read(cell)
    settings = dict(options.settings)
    for name in settings:
        if name.lower() in OURS:
            raise CellError(f"{name}: the cell is the job's executable.", hint="To submit a program, use %%condor.")
    given = _given(settings)
    over = None if options.over is None else _items(options)
    own_arguments = any(name.lower() in {"arguments", "args"} for name in settings)
    variables = dict(environment.variables) if environment is not None else {}
    packed = _is_packed(environment, [*variables.values(), *(v for row in (over.rows if over else ()) for v in row)])
    files = {SCRIPT: script}
    if packed:
        names = [*VARIABLES, *given]
        words = over.columns if over is not None and not own_arguments else ()
        files[JOB] = _job(script, environment, names, words)
    else:
        given = {name: _literal(value, f"the environment's {name}") for name, value in variables.items()} | given
    lines = {"executable": items.text_of(str(folder / (JOB if packed else SCRIPT)), "the path of the run's folder")}
    lines |= _surroundings(environment, inputs, here=here)
    if over is not None and not own_arguments:
        lines["arguments"] = f'"$({ARGUMENTS})"'
    static = " ".join([*(f"{name}={value}" for name, value in VARIABLES.items()), _environment(given)]).strip()
    lines["environment"] = f'"{static}"' if over is None else f'"{static} $({ENVIRONMENT})"'
    sent = None if over is None else _sent(over, [*settings.values(), *given.values(), inputs], packed=packed)
    told = "" if environment is None else f"{environment.kind} {environment.kernel}"
    text = "\n".join([*(f"{name} = {value}" for name, value in lines.items()), "queue"])
    options = replace(options, over=sent, settings=settings, environment=told)
    return Job(text, options, files, _notes(lines, settings))


def _surroundings(environment: JobEnvironment | None, inputs: str, *, here: bool) -> dict[str, str]:
    """Return the submit commands that say where the script runs and with which files."""
    lines = {} if environment is None else dict(environment.submit_commands(here=here))
    if inputs:
        lines["transfer_input_files"] = inputs
    if inputs or (environment is not None and environment.container_image is not None):
        lines["should_transfer_files"] = "YES"
    return lines


def _notes(lines: Mapping[str, str], settings: Mapping[str, str]) -> tuple[str, ...]:
    image = lines.get("container_image", "")
    decided = {"transfer_container", "container_image"} & {name.lower() for name in settings}
    if not image.startswith("/") or "transfer_container" in lines or decided:
        return ()
    return (f"The image {image} is copied to each job. Where workers see it, do without: transfer_container=false",)


def _is_packed(environment: JobEnvironment | None, values: Iterable[str]) -> bool:
    """Whether the executable has to be the file that holds everything."""
    if environment is not None and environment.wrapper is not None:
        return True
    in_image = environment is not None and environment.container_image is not None
    return any(BEYOND.search(value) or (in_image and EVALUATED.search(value)) for value in values)


def _items(options: Options) -> Items:
    """Return the items as text, named as variables can be."""
    found = items.read(options.over, options.over_name, text=items.plain, alone=ALONE)
    for column in found.columns:
        if not column.isascii() or column in TAKEN or column.upper().startswith(("_CONDOR_", "HTCMAGIC_", "BASH_")):
            raise CellError(
                f"--over {options.over_name}: {column} cannot be the name of a script's variable.",
                hint="It means something else to jobs or to the shell. Rename the key or column.",
            )
    for number, row in enumerate(found.rows):
        for column, value in zip(found.columns, row, strict=True):
            if "\0" in value or not _encodes(value):
                what = f"--over {options.over_name}: item {number}, {column}"
                raise CellError(f"{what} holds a character that no program can be given.")
    return found


def _encodes(value: str) -> bool:
    try:
        value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def _sent(over: Items, written: Iterable[str], *, packed: bool) -> Items:
    """Return the items as HTCondor gets them.

    Columns are variables of the submit language, so one called ``input`` would be taken for the submit command. They go
    under names of ours but for those that `written`, the user's settings, use as ``$(x)``.
    """
    used = {name.lower() for name in description.used(written)}
    known = {name.lower() for name in (*commands.COMMANDS, *commands.ALIASES)}
    as_macro = [column.lower() in used for column in over.columns]
    for column, is_used in zip(over.columns, as_macro, strict=True):
        if is_used and column.lower() in known:
            raise CellError(
                f"$({column}) in a setting: {column} is itself a submit command.", hint="Rename the key or column."
            )
    names = [c if is_used else f"{items.KEPT_COLUMN}{c}" for c, is_used in zip(over.columns, as_macro, strict=True)]
    rows = []
    for number, row in enumerate(over.rows):
        named = zip(over.columns, row, as_macro, strict=True)
        rows.append(
            (
                _literal(_arguments(row), "the arguments"),
                _literal(_carried(over.columns, row, packed=packed), "the environment"),
                *(items.text_of(v, f"item {number}, {c}") if is_used else items.kept(v) for c, v, is_used in named),
            )
        )
    return Items((ARGUMENTS, ENVIRONMENT, *names), rows)


def _carried(columns: Iterable[str], row: Iterable[str], *, packed: bool) -> str:
    if not packed:
        return _environment(dict(zip(columns, row, strict=True)))
    return _environment({"HTCMAGIC_ITEMS": " ".join(f"{c}={_bash(v)}" for c, v in zip(columns, row, strict=True))})


def _literal(text: str, what: str) -> str:
    return items.text_of(text, what)


def _arguments(row: Iterable[str]) -> str:
    """Return words in HTCondor's new syntax; what it cannot carry is made readable only, and taken from elsewhere."""
    return " ".join(_quoted(BEYOND.sub(lambda found: "?" if found.group()[0] != "$" else "$ (", v)) for v in row)


def _environment(values: Mapping[str, str]) -> str:
    return " ".join(_quoted(f"{name}={value}") for name, value in values.items())


def _quoted(word: str) -> str:
    """Quote a word as HTCondor's new syntax of arguments and environment wants it, inside its double quotes."""
    doubled = word.replace('"', '""')
    return "'" + doubled.replace("'", "''") + "'" if QUOTED.search(word) else doubled


def _bash(value: str) -> str:
    """Quote a value for bash in characters that HTCondor leaves alone."""
    if re.fullmatch(r"[\w@%+=:,./-]+", value):
        return value
    return "$'" + re.sub(r"[^ \w@%+=:,./-]", _octal, value) + "'"


def _octal(found: re.Match[str]) -> str:
    return "".join(f"\\{byte:03o}" for byte in found.group().encode("utf-8", "surrogateescape"))


def _given(settings: dict[str, str]) -> dict[str, str]:
    """Take the environment out of the settings.

    Raises
    ------
    CellError
        It cannot be read.
    """
    given: dict[str, str] = {}
    for name in [name for name in settings if name.lower() in {"environment", "env"}]:
        given |= read_environment(settings.pop(name))
    return given


def read_environment(text: str) -> dict[str, str]:
    """Return what an ``environment`` command sets, macros left as they are.

    HTCondor's old syntax separates by semicolons. Its new one stands in double quotes, which a magic's line, read as a
    shell would read it, may have taken away.

    Raises
    ------
    CellError
        It is in neither of HTCondor's two syntaxes.
    """
    text = text.strip()
    if ";" in text and not text.startswith('"'):
        entries = [entry for entry in text.split(";") if entry]
    else:
        inside = re.fullmatch(r'"((?:[^"]|"")*)"', text)
        new = inside.group(1).replace('""', '"') if inside else text
        words = re.findall(r"(?:'(?:[^']|'')*'|[^\s'])+|'", new)
        entries = [re.sub(r"'((?:[^']|'')*)'", lambda q: q.group(1).replace("''", "'"), word) for word in words]
    found = {}
    for entry in entries:
        name, equals, value = entry.partition("=")
        if not equals or not re.fullmatch(r"[A-Za-z_]\w*", name.strip(), re.ASCII):
            raise CellError(
                f"environment = {text} cannot be read.", hint="For example: environment=\"A=1 B='two words'\""
            )
        found[name.strip()] = value
    return found


def _job(script: str, environment: JobEnvironment | None, given: Iterable[str], words: Iterable[str]) -> str:
    """Return the one file that holds everything."""
    where = "with its items"
    if environment is not None:
        where = f"in the environment of {environment.kind} {environment.kernel}"
    variables = environment.variables if environment is not None else ()
    given = list(given)
    parts = {SCRIPT: script}
    if environment is not None and environment.wrapper is not None:
        parts["setup.sh"] = environment.wrapper.read_text(encoding="utf-8", errors="surrogateescape")
    written = []
    for name, text in parts.items():
        tag = f"END_OF_{hashlib.sha256(text.encode('utf-8', 'surrogateescape')).hexdigest()[:16]}"
        ended = text if text.endswith("\n") else f"{text}\n"
        written.append(f"cat >\"$htc_job/{name}\" <<'{tag}' || return\n{ended}{tag}\n")
    return "".join(
        [
            f"{BASH}\n# A job of htcmagic: its script, {where}.\n# shellcheck disable=all\n",
            f"htc_image={'1' if environment is not None and environment.container_image is not None else ''}\n",
            f"htc_given=({' '.join(given)})\n",
            *(f"export {name}={shlex.quote(value)}\n" for name, value in variables if name not in given),
            f"htc_columns=({' '.join(words)})\n",
            "htc_write() {\n",
            *written,
            "}\n",
            (package_files("htcmagic.jobs") / "job.bash").read_text(encoding="utf-8"),
        ]
    )
