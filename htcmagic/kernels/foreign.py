"""Reading the command of a kernel that somebody else made: python, a script around it, a container, Belle II's tool."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from htcmagic.kernels.kernelspec import Kernel

CONNECTION = "{connection_file}"
REPLACED = frozenset({"python", f"python{sys.version_info[0]}", f"python{sys.version_info[0]}.{sys.version_info[1]}"})
"""Words that jupyter_client replaces by the python of the server."""
PYTHON = re.compile(r"(?:python|pypy)[\d.]*t?")
RUNTIMES = frozenset({"apptainer", "singularity"})
ENGINES = frozenset({"docker", "podman", "shifter", "charliecloud", "ch-run"})
SHELLS = frozenset({"bash", "sh", "dash", "ksh", "zsh", "csh", "tcsh"})
SCRIPT_BYTES = 200_000


@dataclass(frozen=True, slots=True)
class Script:
    """A shell script that starts a kernel.

    Attributes
    ----------
    path : str
        Where it is; empty for the text of ``bash -c``.
    interpreter : str
        Of its ``#!`` line, with its arguments.
    text : str
        What it says.
    """

    path: str
    interpreter: str
    text: str

    @property
    def lines(self) -> list[tuple[int, str]]:
        """Its commands, a continued line in one, without comments; each with the number of its first line."""
        found: list[tuple[int, str]] = []
        parts: list[str] = []
        first = 0
        for number, line in enumerate(self.text.splitlines()):
            first = first if parts else number
            if line.endswith("\\"):
                parts.append(line[:-1])
                continue
            whole, parts = " ".join([*parts, line]).strip(), []
            if whole and not whole.startswith("#"):
                found.append((first, whole))
        return found

    @property
    def starts(self) -> list[tuple[int, str]]:
        """The commands that start the kernel, by number of line."""
        named = [(number, line) for number, line in self.lines if re.search(r"\bipykernel|\bIPython kernel", line)]
        if named:
            return named
        passing = re.compile(r"""["'\s]\$(?:[@*]|\{[@*])""")
        return [(number, line) for number, line in self.lines if passing.search(line) and not is_assignment(line)]


@dataclass(frozen=True, slots=True)
class Command:
    """What a kernel's ``argv`` does.

    Attributes
    ----------
    kind : str
        ``python``, ``script``, ``container``, ``engine`` (another container engine), ``b2execute`` or ``other``.
    words : list of str
        From the program on, but for what stood before it such as ``env``; ``{connection_file}`` as it is.
    program : str
        The program's path; empty if there is none of its name.
    settings : mapping
        Variables set by ``env`` in front.
    script : Script or None
        For kind ``script``.
    """

    kind: str
    words: list[str]
    program: str
    settings: Mapping[str, str] = field(default_factory=dict)
    script: Script | None = None


def is_assignment(line: str) -> bool:
    """Return whether a line of a script only sets a variable, such as ``args=("$@")``."""
    return (
        re.match(r"""(?:export\s+|local\s+|declare\s+(?:-\w+\s+)*)?\w+=(?:\(.*\)|"[^"]*"|\S*)\s*;?$""", line)
        is not None
    )


def read(kernel: Kernel) -> Command:
    """Return what a kernel's command does, as far as local files tell."""
    words = [os.path.expanduser(word.replace("{prefix}", sys.prefix)) for word in kernel.argv]  # noqa: PTH111
    settings: dict[str, str] = {}
    if words and Path(words[0]).name == "env" and not any(word.startswith("-") for word in words[1:2]):
        words = words[1:]
        while words and "=" in words[0]:
            name, _, value = words.pop(0).partition("=")
            settings[name] = value
    if not words:
        return Command("other", [], "", settings)
    program, name = found(words[0]), Path(words[0]).name
    if name in SHELLS:
        script = _of_shell(words)
        return Command("script" if script else "other", words, program, settings, script)
    if name == "b2execute":
        return Command("b2execute", words, program, settings)
    if name in RUNTIMES or name in ENGINES:
        return Command("container" if name in RUNTIMES else "engine", words, program, settings)
    if PYTHON.fullmatch(name):
        return Command("python", words, program, settings)
    script = read_script(Path(program)) if program else None
    return Command("script" if script else "other", words, program, settings, script)


def found(program: str) -> str:
    """Return the path of a program; empty if it is not there."""
    if "/" in program:
        return program if Path(program).exists() else ""
    return shutil.which(program) or ""


def _of_shell(words: list[str]) -> Script | None:
    shell = words[0]
    flags = [word for word in words[1:] if word.startswith("-") and word != "-f"]
    if "-c" in flags or "-lc" in flags:
        position = max(words.index(flag) for flag in flags if flag.endswith("c"))
        login = " -l" if any("l" in flag for flag in flags) else ""
        return Script("", shell + login, words[position + 1]) if len(words) > position + 1 else None
    for word in words[1:]:
        if not word.startswith("-"):
            script = read_script(Path(word), shell=shell)
            return script and Script(script.path, " ".join([shell, *flags]), script.text)
    return None


def read_script(path: Path, *, shell: str = "") -> Script | None:
    """Return a shell script; None if `path` is something else."""
    try:
        with path.open("rb") as file:
            text = file.read(SCRIPT_BYTES)
    except OSError:
        return None
    first = text.partition(b"\n")[0]
    if not shell and not first.startswith(b"#!"):
        return None
    if b"\0" in text:
        return None
    interpreter = os.fsdecode(first[2:].strip()) if first.startswith(b"#!") else shell
    words = interpreter.split()
    while words and (Path(words[0]).name == "env" or words[0] == "-S"):
        words = words[1:]
    if not shell and (not words or Path(words[0]).name not in SHELLS):
        return None
    return Script(str(path), interpreter, text.decode("utf-8", "surrogateescape"))


WITH_VALUE = frozenset(
    """
    --add-caps --app --apply-cgroups -B --bind --blkio-weight --blkio-weight-device --cpu-shares --cpus --cpuset-cpus
    --cpuset-mems --cwd --device --dns --docker-host --drop-caps --env --env-file --fusemount -H --home --hostname
    --memory --memory-reservation --memory-swap --mount --netns-path --network --network-args -o --overlay --pem-path
    --pids-limit --pwd -S --scratch --security -W --workdir
    """.split()  # noqa: SIM905 - a hundred quotes would hide them
)
"""Options of ``apptainer exec`` that take a value."""
_SHORT = {
    "-B": "--bind", "-H": "--home", "-S": "--scratch", "-W": "--workdir", "-c": "--contain", "-C": "--containall",
    "-e": "--cleanenv", "-p": "--pid", "-i": "--ipc", "-n": "--net", "-u": "--userns", "-w": "--writable",
    "-f": "--fakeroot", "-o": "--overlay", "--cwd": "--pwd", "-q": "--quiet", "-s": "--silent", "-d": "--debug",
    "-v": "--verbose",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ContainerCall:
    """A line that runs something in an image.

    Attributes
    ----------
    verb : str
        ``exec`` or ``run``.
    options : list of (str, str)
        Options by their long names, and their values.
    image : str
        The image.
    inside : list of str
        What is run in it.
    """

    verb: str
    options: list[tuple[str, str]]
    image: str
    inside: list[str]

    def has(self, *names: str) -> bool:
        """Whether one of these options is given."""
        return any(name in names for name, _ in self.options)

    def values(self, name: str) -> list[str]:
        """Return all values of an option."""
        return [value for option, value in self.options if option == name]

    @property
    def binds(self) -> list[str]:
        """The bound ``SOURCE[:TARGET[:OPTIONS]]``."""
        return [one for value in self.values("--bind") for one in value.split(",") if one]


def container_call(words: list[str]) -> ContainerCall | None:
    """Return what an ``apptainer exec …`` line says; None if it is another command of it."""
    options: list[tuple[str, str]] = []
    rest = words[1:]
    verb = ""
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            if verb:
                return ContainerCall(verb, options, word, rest)
            if word not in {"exec", "run"}:
                return None
            verb = word
            continue
        name, equals, value = word.partition("=")
        if not name.startswith("--"):
            options += _letters(word, rest)
            continue
        if name in WITH_VALUE and not equals:
            value = rest.pop(0) if rest else ""
        options.append((_SHORT.get(name, name), value))
    return None


def _letters(word: str, rest: list[str]) -> list[tuple[str, str]]:
    """Return the options of a word such as ``-ecB/data``; a value may also be the next word."""
    found: list[tuple[str, str]] = []
    for place, letter in enumerate(word[1:], start=1):
        short = f"-{letter}"
        if short in WITH_VALUE:
            value = word[place + 1 :].removeprefix("=") or (rest.pop(0) if rest else "")
            return [*found, (_SHORT.get(short, short), value)]
        found.append((_SHORT.get(short, short), ""))
    return found


def line_words(line: str) -> list[str] | None:
    """Return the words of a simple command with their variables as they are; None if it is more than that."""
    text = re.sub(r"\s+(?:[12&]?>>?(?:&[12]|\s*/dev/null)|<\s*/dev/null)", " ", f" {line} ").strip().rstrip(";").strip()
    reader = shlex.shlex(text, posix=True, punctuation_chars="|&;<>()`")
    reader.whitespace_split = True
    reader.commenters = "#"
    try:
        words = list(reader)
    except ValueError:
        return None
    operators = set("|&;<>()`")
    return None if any(word and set(word) <= operators for word in words) or "`" in text or "$(" in text else words
