"""``htc-kernel adopt``: a kernel that somebody else made, as one of ours with the same meaning.

What is not understood wholly is refused with the reason. The old kernel's folder is kept below htcmagic's own, from
where ``--undo`` puts it back.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from htcmagic.errors import KernelError
from htcmagic.kernels import create, foreign
from htcmagic.kernels.adopt_script import NotUnderstood, arguments_of_python, exported, understand, user_packages
from htcmagic.kernels.create import Order
from htcmagic.kernels.foreign import Command
from htcmagic.kernels.kernelspec import Kernel
from htcmagic.kernels.own_files import HERE
from htcmagic.kernels.recipe import VARIABLE

SETUP = "adopted-setup.sh"
FLAGS = {
    "--contain": "contain",
    "--cleanenv": "cleanenv",
    "--pid": "pid",
    "--userns": "userns",
    "--nv": "nv",
    "--rocm": "rocm",
}
DROPPED = {"--quiet", "--silent", "--ipc", "--pwd", "--no-init", "--init"}


@dataclass(slots=True)
class Plan:
    """What a kernel becomes.

    Attributes
    ----------
    order : Order
        The kernel to be made.
    notes : list of str
        What will be different.
    """

    order: Order
    notes: list[str] = field(default_factory=list)

    @property
    def files(self) -> Mapping[str, bytes]:
        """The files of it that somebody may want to read, as they are before its python is asked."""
        made = self.order.files(None)
        return {name: made[name] for name in ("kernel.json", "setup.sh", *self.order.beside)}


def plan(
    kernel: Kernel,
    name: str = "",
    *,
    ask: bool = True,
    dry_run: bool = False,
    report: Callable[[str], None] = lambda _line: None,
) -> Plan:
    """Return what a foreign kernel is, in our words.

    Parameters
    ----------
    kernel : Kernel
        The foreign one.
    name : str
        The new name; its own if not given.
    ask : bool
        Whether its stack must be there.
    dry_run : bool
        Whether to leave its image and its stack alone.
    report : callable
        Is told what takes long.

    Raises
    ------
    NotUnderstood
        A recipe cannot say what it does.
    """
    if kernel.problem:
        raise NotUnderstood(kernel.problem)
    if kernel.is_ours:
        raise KernelError(
            f"The kernel {kernel.name} is one of ours.", hint=f"htc-kernel edit {kernel.name} changes it."
        )
    language = str(kernel.data.get("language", "python")).lower()
    if language != "python":
        raise NotUnderstood(f"it is a kernel for {language}; ours run python")
    metadata = kernel.data.get("metadata")
    if isinstance(metadata, dict) and "kernel_provisioner" in metadata:
        raise NotUnderstood("it is started by a provisioner of its own")
    command = foreign.read(kernel)
    reader = {"python": _python, "script": _script, "container": _container, "b2execute": _belle2}.get(command.kind)
    if reader is None:
        program = command.words[0] if command.words else "nothing"
        raise NotUnderstood(f"its command runs {program}, which is not known here")
    wishes, beside, notes = reader(command, _env(kernel, command))
    title = {"display_name": kernel.title, "name": name or kernel.name}
    order = create.order({**wishes, **title}, report=report, look=ask and not dry_run, fetch=not dry_run)
    return Plan(Order(order.recipe, order.stack, beside=beside), notes)


def _env(kernel: Kernel, command: Command) -> list[tuple[str, str]]:
    given = kernel.data.get("env")
    pairs = [(str(key), str(value)) for key, value in given.items()] if isinstance(given, dict) else []
    # what `env NAME=VALUE` sets in front of the command is taken as it is
    pairs = [(key, value) for key, value in pairs if key not in command.settings]
    pairs += [(key, value.replace("$", "$$")) for key, value in command.settings.items()]
    for key, value in pairs:
        if not VARIABLE.fullmatch(key) or "\0" in value:
            raise NotUnderstood(f"env has {key!r}, which is no variable's name")
    return pairs


_Read = tuple[dict[str, Any], dict[str, bytes], list[str]]


def _python(command: Command, env: list[tuple[str, str]]) -> _Read:
    notes: list[str] = []
    sees_user = arguments_of_python(command.words[1:], notes)
    program = command.program
    if command.words[0] in foreign.REPLACED:
        program, note = _meant(command.words[0], dict(env))
        notes.append(note)
    if not program:
        raise NotUnderstood(f"{command.words[0]} is not there")
    wishes: dict[str, Any] = {"user_site": _user_site(env, allowed=sees_user), **_environment(program)}
    if "python" not in wishes:
        where = wishes.get("venv") or wishes.get("conda")
        notes.append(f"{where} is also activated: its programs come first for !commands, too.")
    plain = [(key, value.replace("$$", "$")) for key, value in env if "$" not in value.replace("$$", "")]
    other = [pair for pair in env if "$" in pair[1].replace("$$", "")]
    wishes["set"] = [f"{key}={value}" for key, value in plain if key != "PYTHONNOUSERSITE"]
    if not other:
        return wishes, {}, notes
    text = "# The env of its kernel.json, where it uses the server's variables, as htc-kernel adopt found it.\n"
    return {**wishes, "source": [HERE + SETUP]}, {SETUP: (text + exported(other, dict(env))).encode()}, notes


def _meant(word: str, env: Mapping[str, str]) -> tuple[str, str]:
    """Return the python that a bare ``python`` means, and what to say of it."""
    for folder in env.get("PATH", "").split(os.pathsep):
        if folder.startswith("/") and os.access(Path(folder) / word, os.X_OK):
            return str(
                Path(folder) / word
            ), f"It runs {folder}/{word}, as its PATH means; Jupyter ran the server's python."
    return sys.executable, f"It runs {sys.executable} from now on, whichever python the server has."


def _environment(program: str) -> dict[str, str]:
    """Return the environment a python belongs to, as a wish; else the python itself."""
    prefix = Path(program).parent.parent
    if Path(program).parent.name == "bin" and os.access(prefix / "bin" / "python", os.X_OK):
        if (prefix / "pyvenv.cfg").is_file():
            return {"venv": str(prefix)}
        if (prefix / "conda-meta").is_dir():
            return {"conda": str(prefix)}
    return {"python": program}


def _user_site(env: list[tuple[str, str]], *, allowed: bool = True) -> bool:
    return allowed and user_packages() and not dict(env).get("PYTHONNOUSERSITE")


def _script(command: Command, env: list[tuple[str, str]]) -> _Read:
    script = command.script
    if script is None:
        raise NotUnderstood("its script cannot be read")
    found = understand(script, _arguments(command, script.path))
    setup = found.setup
    if env:
        first, rest = setup.split("\n", 1)
        setup = f"{first}\n{exported(env, dict(env))}{rest}"
    settings = [f"{key}={value}" for key, value in found.settings]
    wishes = {"source": [HERE + SETUP], "python": found.python, "set": settings, "user_site": _user_site(env)}
    notes = [*found.notes, "What the server has in PYTHONPATH, LD_LIBRARY_PATH and the like is not inherited any more."]
    return wishes, {SETUP: setup.encode("utf-8", "surrogateescape")}, notes


def _arguments(command: Command, path: str) -> list[str]:
    """Return the words after the script."""
    words = command.words
    if words[0] == path or (command.program and command.program == path):
        return words[1:]
    if path and path in words:
        return words[words.index(path) + 1 :]
    position = next((number for number, word in enumerate(words) if re.fullmatch(r"-l?c", word)), len(words))
    return words[position + 3 :]  # bash -c TEXT NAME WORD…


def _belle2(command: Command, env: list[tuple[str, str]]) -> _Read:
    """Read ``b2execute [-x PYTHON] RELEASE -m ipykernel_launcher -f {connection_file}``."""
    words = command.words[1:]
    if words[:1] == ["-x"]:
        if len(words) < 2 or not foreign.PYTHON.fullmatch(words[1]):
            raise NotUnderstood(f"b2execute runs {' '.join(words[1:2]) or 'nothing'}, not python")
        words = words[2:]
    if not words or words[0].startswith("-"):
        raise NotUnderstood("b2execute is given no release")
    notes: list[str] = []
    arguments_of_python(words[1:], notes)
    if any("$" in value for _, value in env):
        raise NotUnderstood("its env uses the server's variables")
    settings = [f"{key}={value}" for key, value in env]
    return {"cvmfs": "belle2", "release": words[0], "set": settings, "user_site": _user_site(env)}, {}, notes


def _container(command: Command, env: list[tuple[str, str]]) -> _Read:
    call = foreign.container_call(command.words)
    if call is None:
        raise NotUnderstood(f"{command.words[0]} does not exec or run an image")
    if call.verb == "run":
        raise NotUnderstood("it runs the image's own script, whatever that is")
    if not call.inside or not foreign.PYTHON.fullmatch(Path(call.inside[0]).name):
        raise NotUnderstood(f"it starts {' '.join(call.inside[:1]) or 'nothing'} in the image, not python")
    notes: list[str] = []
    arguments_of_python(call.inside[1:], notes)
    settings = _inside(env, notes, clean=call.has("--cleanenv", "--containall", "--compat"))
    wishes: dict[str, Any] = {"container": call.image, "bind": _binds(call.binds), "python": call.inside[0]}
    for name, value in call.options:
        if name == "--env":
            settings[value.partition("=")[0]] = _given(value)
        else:
            wishes |= _option(name, value, notes)
    settings.pop("JPY_PARENT_PID", None)
    wishes["set"] = [f"{key}={value}" for key, value in settings.items()]
    return wishes, {}, notes


def _given(value: str) -> str:
    """Return the value of ``--env NAME=VALUE``."""
    text = value.partition("=")[2]
    if ("," in text and "=" in text) or '"' in text or re.search(r"[`$]", text):
        raise NotUnderstood(f"--env {value} may mean several things")
    return text


def _option(name: str, value: str, notes: list[str]) -> dict[str, Any]:
    """Return what an option of the runtime is among our wishes."""
    if name in FLAGS:
        return {FLAGS[name]: True}
    if name in {"--containall", "--compat"}:
        notes.append(f"{name} is contain, cleanenv and pid; what more it means is left out.")
        return {"contain": True, "cleanenv": True, "pid": True}
    if name == "--home":
        return {"home": value.partition(":")[0]}
    if name == "--no-home":
        return {"home": "none"}
    if name in DROPPED:
        notes.append(f"{name} is left out.")
    elif name != "--bind":
        raise NotUnderstood(f"its {name} has no counterpart here")
    return {}


def _binds(given: list[str]) -> list[str]:
    kept = []
    for bind in given:
        if "{connection_file}" in bind:  # ours are bound anyway
            continue
        if "{" in bind:
            raise NotUnderstood(f"it binds {bind}")
        kept.append(bind)
    return kept


def _inside(env: list[tuple[str, str]], notes: list[str], *, clean: bool) -> dict[str, str]:
    """Return what is set inside, of a kernel's env."""
    inside: dict[str, str] = {}
    for key, value in env:
        if "$" in value.replace("$$", "").replace("\\$", ""):
            raise NotUnderstood(f"env.{key} uses the server's variables")
        plain = value.replace("$$", "$")
        prefix = next((one for one in ("APPTAINERENV_", "SINGULARITYENV_") if key.startswith(one)), "")
        if prefix:
            name = key.removeprefix(prefix)
            if name in {"PATH", "PREPEND_PATH", "APPEND_PATH", "LD_LIBRARY_PATH"} or re.search(r"(?<!\\)[`$]", plain):
                raise NotUnderstood(f"env.{key} is special to the runtime")
            inside[name] = re.sub(r"\\([\\$`])", r"\1", plain)
        elif key.startswith(("APPTAINER_", "SINGULARITY_")):
            raise NotUnderstood(f"env.{key} is an option of the runtime")
        elif clean or key in {"PATH", "LD_LIBRARY_PATH"}:
            notes.append(f"{key} is left out: it does not reach the inside.")
        else:
            inside.setdefault(key, plain)
    return inside
