"""What may be wrong with the command of a kernel, and with the script around it."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from htcmagic.kernels.foreign import REPLACED, SHELLS, Script

if TYPE_CHECKING:
    from htcmagic.kernels.doctor import Patient

HARMLESS = re.compile(
    r"(?:conda\.sh|mamba\.sh|/activate|init/bash|thisroot\.sh|/modules\.sh|/lmod\.sh|bashrc|profile)\b"
)
"""Scripts that are not disturbed by the kernel's arguments."""
PATHS_SET = ("PATH", "LD_LIBRARY_PATH", "PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV", "CONDA_PREFIX")


def test(one: Patient) -> None:
    """Look at the command."""
    if one.kernel.is_ours:
        return
    _program(one)
    command = one.command
    if command.kind == "script" and command.script is not None and one.kernel.data.get("language") != "bash":
        _script(one, command.script)
    if command.kind == "b2execute":
        one.say(
            "b2execute",
            "b2execute does not exec: the kernel outlives a killed server; and a shell reads its arguments once more.",
            f"htc-kernel adopt {one.kernel.name}",
        )


def _program(one: Patient) -> None:
    words = one.kernel.argv
    program = words[0] if words else ""
    if program in REPLACED:
        _replaced(one, program)
        return
    path = program.replace("{prefix}", sys.prefix)
    path = os.path.expanduser(path) if "/" in path else shutil.which(path) or ""  # noqa: PTH111
    if not program:
        return
    if "/" in program and not path.startswith("/"):
        one.say("relative", f"{program} is looked for in the notebook's folder.", "Write its whole path.")
        return
    from htcmagic.kernels.doctor import is_there  # noqa: PLC0415

    if not path or not is_there(path):
        remedy = (
            "Install it again, or remove the kernel: htc-kernel remove" if "/" in program else "Write its whole path."
        )
        one.say("missing", f"{program} is not there.", remedy)
    elif not os.access(path, os.X_OK) or Path(path).is_dir():
        one.say("not-executable", f"{path} may not be executed.", f"chmod a+x {path}")
    else:
        _interpreter(one, Path(path))
    script = one.command.script
    if script is None and one.command.kind == "other" and Path(program).name in SHELLS:
        missing = next((word for word in words[1:] if word.startswith("/") and not Path(word).exists()), "")
        if missing:
            one.say("missing", f"{missing} is not there.", "Write it again, or remove the kernel.")


def _replaced(one: Patient, program: str) -> None:
    """Complain of a plain ``python`` where it is not the kernel of the environment that the server is in."""
    folder = one.kernel.folder.resolve()
    own = folder.parent.parent.parent.parent  # PREFIX/share/jupyter/kernels/NAME
    in_environment = (own / "bin" / "python").exists() and own not in {Path("/usr"), Path("/usr/local")}
    asked = [name for name in PATHS_SET if name in one.env]
    if in_environment and not asked:
        return
    meant = f"; the {asked[0]} it sets does not change that" if asked else ""
    remedy = f"Write the python's whole path: htc-kernel adopt {one.kernel.name}"
    one.say("replaced", f"Jupyter runs its server's own python in place of {program!r}{meant}.", remedy)


def _interpreter(one: Patient, path: Path) -> None:
    try:
        with path.open("rb") as file:
            first = file.readline(500)
    except OSError:
        return
    if not first.startswith(b"#!"):
        return
    words = os.fsdecode(first[2:]).split()
    if words and not Path(words[0]).exists():
        one.say(
            "interpreter",
            f"{path} wants {words[0]}, which is not there.",
            f"Correct its first line, {first.decode(errors='replace').strip()}",
        )
    elif first.endswith(b"\r\n"):
        one.say(
            "interpreter",
            f"{path} has line ends of Windows, so that its first line names no program.",
            f"sed -i 's/\\r$//' {path}",
        )


def _script(one: Patient, script: Script) -> None:
    where = script.path or "The command"
    starts = script.starts
    adopt = f"htc-kernel adopt {one.kernel.name}"
    watches = "JPY_PARENT_PID" in script.text
    for number, line in starts:
        if not re.search(r"(?:^|[;&|({]|\bthen|\belse|\bdo)\s*exec\b", line) and not watches:
            problem = f"{where} does not exec python (line {number + 1}): the kernel outlives a killed server."
            one.say("no-exec", problem, f"Write exec in front of it, or: {adopt}")
        if re.search(r"""(?:^|\s)\$(?:[@*]|\{[@*]\}|1\b)(?=\s|$|;)""", line):
            what = "$1" if " $1" in line else "$@"
            problem = f"{where} passes {what} without quotes (line {number + 1}): a blank in a path breaks it."
            one.say("unquoted", problem, 'Write "$@" for it.')
    if not starts:
        return
    _sources(one, script, where, starts[-1][0])


def _sources(one: Patient, script: Script, where: str, end: int) -> None:
    passes = len(one.command.words) > 2
    options = False
    for number, line in script.lines:
        if number >= end:
            return
        if re.match(r"set\s+--|shift\b", line):
            passes = False
        if re.match(r"set\s+-\w*[eu]|set\s+-o\s+(?:errexit|nounset|pipefail)", line):
            options = True
        if re.match(r"set\s+\+\w*[eu]", line):
            options = False
        found = re.match(r"(?:source|\.)\s+(\S+)\s*(?:$|[;&|>#])", line)
        if not found or HARMLESS.search(found[1]):
            continue
        if passes:
            problem = f"{where} sources {found[1]} (line {number + 1}) with the kernel's arguments, which it may heed."
            one.say("leak", problem, 'Before it: args=("$@"); set -- ; at the end: "${args[@]}"')
            passes = False
        if options:
            problem = (
                f"{where} sources {found[1]} (line {number + 1}) under set -e or -u, which most set-ups do not survive."
            )
            one.say("options", problem, "Take the shell options away.")
            options = False
