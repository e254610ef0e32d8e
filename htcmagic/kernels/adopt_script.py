"""Understanding a shell script around a kernel: what it sets up, which python it runs, with what."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

from htcmagic.errors import KernelError
from htcmagic.kernels import wrapper
from htcmagic.kernels.foreign import CONNECTION, Script, line_words

LAUNCHERS = ("ipykernel_launcher", "ipykernel")
MODULES = """\
if ! declare -F module >/dev/null; then
    for htc_word in "$LMOD_PKG/init/bash" "$MODULESHOME/init/bash" /usr/share/lmod/lmod/init/bash \\
        /usr/share/modules/init/bash /usr/share/Modules/init/bash /etc/profile.d/lmod.sh /etc/profile.d/modules.sh; do
        [[ ! -r $htc_word ]] || { source "$htc_word" && break; }
    done
fi
"""
LOGIN = """\
[[ ! -r /etc/profile ]] || source /etc/profile
for htc_word in ~/.bash_profile ~/.bash_login ~/.profile; do
    [[ ! -r $htc_word ]] || { source "$htc_word" && break; }
done
"""


class NotUnderstood(KernelError):  # noqa: N818
    """Something about a kernel that cannot be said as a recipe; nothing was changed."""

    def __init__(self, message: str) -> None:
        hint = "Nothing was changed. Make one of your own: htc-kernel create --help shows how."
        super().__init__(f"{message[0].upper()}{message[1:]}.", hint=hint)


@dataclass(slots=True)
class Understood:
    """What was made of a script.

    Attributes
    ----------
    setup : str
        Its set-up, as a script of its own.
    python : str
        The python it runs, a word with variables.
    settings : list of (str, str)
        Variables that are set just for python.
    notes : list of str
        What will be different.
    """

    setup: str
    python: str
    settings: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def understand(script: Script, arguments: Sequence[str]) -> Understood:
    """Return what a script does, given the words after it in ``argv``.

    Raises
    ------
    NotUnderstood
        It does more than set something up and start a python kernel at its end.
    """
    _refuse(script)
    number, line, setup = _start(script)
    words = line_words(line)
    if words is None:
        raise NotUnderstood(f"line {number + 1} of the script is more than a command: {line}")
    known = _values(script, number, arguments)
    found = Understood(_as_source(script, setup, arguments), "")
    words = words[1:] if words[:1] == ["exec"] else words
    words = words[1:] if words[:1] == ["env"] else words
    while words and re.fullmatch(r"[A-Za-z_]\w*=.*", words[0], re.DOTALL):
        name, _, value = words.pop(0).partition("=")
        if "$" in value:
            raise NotUnderstood(f"line {number + 1} of the script sets {name} to something that is known only later")
        found.settings.append((name, value))
    if not words or not re.search(r"python|PYTHON|\bPY\b", words[0]) or " " in words[0]:
        raise NotUnderstood(f"line {number + 1} of the script does not start a python: {line}")
    found.python = words[0]
    arguments_of_python([word for one in words[1:] for word in known.get(_bare(one), [one])], found.notes)
    _lost(setup, found.notes)
    return found


def arguments_of_python(words: Sequence[str], notes: list[str]) -> bool:
    """Check what python is given; whether it may see the user's own packages.

    Raises
    ------
    NotUnderstood
        It is not ipykernel with a connection file and nothing else.
    """
    text = " ".join(f"{word}\n" for word in words)
    text, launcher = re.subn(rf"(?m)^ ?-m\n (?:{'|'.join(LAUNCHERS)})\n", "", text, count=1)
    text, connected = re.subn(r"(?m)^ ?(?:--?f\n |--?f=|-f)?\{connection_file\}\n", "", text, count=1)
    text = re.sub(r"(?m)^ ?-X(?:\n )?frozen_modules(?:=\w+)?\n", "", text)
    user_site = True
    for word in text.split("\n"):
        flag = word.strip()
        if flag in {"-s", "-I"}:
            user_site = False
        elif flag in {"-E", "-B", "-P"}:
            notes.append(f"python's {flag} is left out.")
        elif flag and flag != "-u":
            raise NotUnderstood(f"python is given {flag!r}, which a kernel of ours cannot be told")
    if not launcher:
        raise NotUnderstood("it does not run python -m ipykernel_launcher")
    if not connected:
        raise NotUnderstood("it does not hand {connection_file} to ipykernel")
    return user_site


def _refuse(script: Script) -> None:
    words = script.interpreter.split()
    shell = Path(words[0]).name if words else ""
    if shell not in {"bash", "sh", "dash", "ksh"}:
        raise NotUnderstood(f"the script is for {shell}, not for bash")
    if re.search(r"\$\{?0\b|BASH_SOURCE", script.text):
        raise NotUnderstood(
            "the script looks for files beside itself ($0 or BASH_SOURCE), and would not find them any more"
        )


def _start(script: Script) -> tuple[int, str, str]:
    """Return the line that starts the kernel, its number, and what stands before it."""
    starts = script.starts
    if len(starts) != 1:
        count = f"in {len(starts)} places" if starts else "nowhere that can be seen"
        raise NotUnderstood(f"the script starts a kernel {count}")
    number, line = starts[0]
    lines = script.text.splitlines()
    setup = "\n".join(lines[1 if lines[0].startswith("#!") else 0 : number]).strip("\n")
    if wrapper.syntax_problem(setup):
        raise NotUnderstood(f"line {number + 1} of the script starts python inside an if, a loop or a function")
    after = [text for other, text in script.lines if other > number]
    more = next((text for text in after if not re.match(r"exit\b|echo\b|true$|:$|wait$", text)), "")
    if more:
        raise NotUnderstood(f"the script goes on after the kernel: {more}")
    return number, line, setup


def _bare(word: str) -> str:
    """Return the name of the variable that a word is, ``@`` for all arguments; the word if it is none."""
    found = re.fullmatch(r"\$(?:(\w+|[@*])|\{(\w+|[@*])(?:\[[@*]\]|:1)?\})", word)
    return f"${found[1] or found[2]}".replace("*", "@") if found else word


def _values(script: Script, end: int, arguments: Sequence[str]) -> dict[str, list[str]]:
    """Return what is known of variables at line `end`: the arguments, and what was made of them."""
    rest = list(arguments)
    known: dict[str, list[str]] = {}
    for number, line in script.lines:
        if number >= end:
            break
        position = {f"${index + 1}": [word] for index, word in enumerate(rest)} | {"$@": rest}
        found = re.fullmatch(r"""(?:export\s+|declare\s+(?:-\w+\s+)*)?(\w+)=(\(?)["']?(\$[\w@*{}:]+)["']?\)?;?""", line)
        if found and _bare(found[3]) in position:
            known[f"${found[1]}"] = position[_bare(found[3])]
        shifted = re.match(r"shift\b\s*(\d*)", line)
        if shifted:
            rest = rest[int(shifted[1] or 1) :]
        elif re.match(r"set\s+--\s*(?:;|$)", line):
            rest = []
    return {**known, **{f"${index + 1}": [word] for index, word in enumerate(rest)}, "$@": rest}


def _as_source(script: Script, setup: str, arguments: Sequence[str]) -> str:
    """Return the set-up part as a script to be sourced, with the arguments that are meant for it."""
    meant: list[str] = []
    for word in arguments:
        if word.startswith("-") or CONNECTION in word:
            break
        meant.append(word)
    head = [f"# The set-up of {script.path or 'the command'}, as htc-kernel adopt found it."]
    if meant and re.search(r"\$[1-9@*#{]|\bshift\b", setup):
        head.append(f"set -- {shlex.join(meant)}")
    text = "\n".join(head) + "\n"
    words = script.interpreter.split()
    if any(re.fullmatch(r"-\w*l\w*|--login", word) for word in words[1:]):
        text += LOGIN
    if re.search(r"(?m)^\s*(?:module|ml)\s", setup):
        text += MODULES
    options = "".join(re.findall(r"-([eux]+)", " ".join(words[1:])))
    return text + (f"set -{options}\n" if options else "") + setup + "\n"


def _lost(setup: str, notes: list[str]) -> None:
    if re.search(r"(?m)^\s*(?:cd|pushd)\s", setup) and not re.search(r"(?m)^\s*(?:cd\s+-|popd)\b", setup):
        notes.append("The script changes the folder; a kernel of ours stays in the notebook's.")
    used = [word for word in ("ulimit", "trap") if re.search(rf"(?m)^\s*{word}\s", setup)]
    notes += [f"What the script does with {word} does not reach python any more." for word in used]


def exported(settings: Sequence[tuple[str, str]], names: Collection[str]) -> str:
    """Return bash that sets variables as Jupyter does from ``kernel.json``: ``$NAME`` is what the server has.

    Parameters
    ----------
    settings : sequence of (str, str)
        Names and values.
    names : collection of str
        All that ``kernel.json`` sets.

    Raises
    ------
    NotUnderstood
        A value needs another of them.
    """
    lines = []
    for name, value in settings:
        used = {found["named"] or found["braced"] for found in Template.pattern.finditer(value)}
        if used & (set(names) - {name}):
            raise NotUnderstood(f"env.{name} uses another variable that kernel.json sets")
        lines.append(f"export {name}={_bash(value)}")
    return "".join(f"{line}\n" for line in lines)


def _bash(value: str) -> str:
    if "$" not in value:
        return shlex.quote(value)
    parts, end = [], 0
    for found in Template.pattern.finditer(value):
        parts.append(_literal(value[end : found.start()]))
        named = found["named"] or found["braced"]
        parts.append(f"${{{named}}}" if named else "\\$")
        end = found.end()
    return '"' + "".join([*parts, _literal(value[end:])]) + '"'


def _literal(text: str) -> str:
    return re.sub(r'([\\"$`])', r"\\\1", text)


def user_packages() -> bool:
    """Return whether this user has packages of the own in ``~/.local/lib``."""
    home = os.path.expanduser("~")  # noqa: PTH111
    return any(Path(home, ".local", "lib").glob("python*/site-packages/*"))
