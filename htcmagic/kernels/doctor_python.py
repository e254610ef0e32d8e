"""What may be wrong with a kernel's python and its ipykernel, against what ``kernel.json`` promises."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from htcmagic.kernels import foreign

if TYPE_CHECKING:
    from htcmagic.kernels.doctor import Patient

ASK_S = 15.0
CODE = """
import sys, json, os
told = {"version": list(sys.version_info[:2]), "home": sys.prefix}
try:
    import site
    told["user_site"] = site.getusersitepackages() if site.ENABLE_USER_SITE else ""
except Exception: pass
try:
    import ipykernel
    told["ipykernel"], told["where"] = ipykernel.__version__, os.path.dirname(ipykernel.__file__)
except Exception as error: told["problem"] = type(error).__name__ + ": " + str(error)
try:
    import importlib.util
    told["debugpy"] = importlib.util.find_spec("debugpy") is not None
except Exception: pass
sys.stdout.write("\\nhtcmagic " + json.dumps(told) + "\\n")
"""
MIXED = ("ipykernel", "jupyter_client", "jupyter_core", "traitlets", "tornado", "zmq", "IPython", "comm")


@dataclass(frozen=True, slots=True)
class Python:
    """What a python has.

    Attributes
    ----------
    version : tuple of int
        Major and minor.
    ipykernel : str
        Its version; empty if there is none.
    problem : str
        Why there is none.
    debugpy : bool
        Whether debugpy is there.
    user_site : str
        The user's packages that it sees; empty if it does not.
    where : str
        The folder ipykernel comes from.
    """

    version: tuple[int, ...] = ()
    ipykernel: str = ""
    problem: str = ""
    debugpy: bool = False
    user_site: str = ""
    where: str = ""

    def at_least(self, *version: int) -> bool:
        """Whether its ipykernel is of that version or a later one."""
        return tuple(int(part) for part in re.findall(r"\d+", self.ipykernel)[:2]) >= version


def test(one: Patient) -> None:
    """Look at the python, where the command says which it is."""
    if one.command.kind != "python" or not _is_ipykernel(one.command.words) or not one.command.program:
        return
    program = sys.executable if one.kernel.argv[0] in foreign.REPLACED else one.command.program
    flags = [word for word in one.command.words[1:3] if word in {"-s", "-I", "-E"}]
    settings = {key: value for key, value in one.env.items() if key.startswith(("PYTHON", "LD_")) and "$" not in value}
    python = ask(program, tuple(flags), tuple(sorted(settings.items())))
    if not python.ipykernel:
        remedy = f"Install it there: {program} -m pip install ipykernel"
        one.say("no-ipykernel", f"{program} has no ipykernel that can be imported: {python.problem}", remedy)
        return
    promises(one, python)
    _mixed(one, python)


def promises(one: Patient, python: Python) -> None:
    """Compare what ``kernel.json`` says of ipykernel with what it is."""
    version = f"its ipykernel is {python.ipykernel}"
    encryption = one.metadata.get("supported_encryption")
    if isinstance(encryption, list) and "curve" in encryption and not python.at_least(7, 3):
        problem = f"kernel.json promises encryption, but {version}: it hangs where the server asks for it."
        one.say("encryption", problem, "Take metadata.supported_encryption out, or install ipykernel 7.3 or later.")
    if one.metadata.get("debugger") and not (python.debugpy and python.at_least(6)):
        what = "there is no debugpy" if not python.debugpy else version
        one.say(
            "debugger",
            f"kernel.json promises a debugger, but {what}.",
            "Install debugpy there, or take metadata.debugger out.",
        )
    if one.kernel.data.get("interrupt_mode") == "message" and not python.at_least(6, 2):
        problem = f"kernel.json wants interrupts by message, but {version}: it ignores them."
        one.say("interrupts", problem, "Write interrupt_mode: signal, or install ipykernel 6.2 or later.")


def _mixed(one: Patient, python: Python) -> None:
    if not python.user_site:
        return
    folder = Path(python.user_site)
    found = [name for name in MIXED if (folder / name).is_dir()]
    if found and python.where.startswith(str(folder)) and len(found) < len(MIXED):
        problem = f"{', '.join(found)} come from {folder}, the rest from the python itself."
    elif found and not python.where.startswith(str(folder)):
        problem = f"{', '.join(found)} in {folder} stand before those of the python itself."
    else:
        return
    one.say("user-site", problem, "Set PYTHONNOUSERSITE=1 in kernel.json's env, or uninstall them there.")


def _is_ipykernel(words: list[str]) -> bool:
    return any(word.startswith("ipykernel") for word in words)


@functools.lru_cache(maxsize=256)
def ask(program: str, flags: tuple[str, ...] = (), settings: tuple[tuple[str, str], ...] = ()) -> Python:
    """Return what a python has: read from its folders, or asked if they do not tell."""
    if not settings:
        known = _read(Path(program))
        if known is not None:
            return known
    env = {key: value for key, value in os.environ.items() if key not in {"PYTHONPATH", "PYTHONHOME", "JPY_PARENT_PID"}}
    try:
        done = subprocess.run(
            [program, *flags, "-c", CODE], env={**env, **dict(settings)}, cwd="/", stdin=subprocess.DEVNULL,
            capture_output=True, timeout=ASK_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Python(problem=f"no answer within {ASK_S:.0f} s")
    except OSError as error:
        return Python(problem=str(error.strerror))
    for line in done.stdout.decode(errors="replace").splitlines():
        if line.startswith("htcmagic "):
            return _told(json.loads(line.removeprefix("htcmagic ")))
    said = done.stderr.decode(errors="replace").strip().splitlines()
    return Python(problem=said[-1] if said else f"exit status {done.returncode}")


def _told(told: dict[str, Any]) -> Python:
    return Python(
        version=tuple(told["version"]),
        ipykernel=told.get("ipykernel", ""),
        problem=told.get("problem", ""),
        debugpy=bool(told.get("debugpy")),
        user_site=told.get("user_site") or "",
        where=told.get("where", ""),
    )


def _read(program: Path) -> Python | None:
    """Return what the folders of a virtual environment tell, which sees no other packages than its own."""
    prefix = program.parent.parent
    try:
        lines = (prefix / "pyvenv.cfg").read_text(errors="replace").splitlines()
    except OSError:
        return None
    said = {key.strip(): value.strip() for key, _, value in (line.partition("=") for line in lines)}
    if said.get("include-system-site-packages", "false").lower() == "true" or not os.access(program, os.X_OK):
        return None
    for folder in prefix.glob("lib/python3*/site-packages"):
        info = next(folder.glob("ipykernel-*.dist-info"), None)
        if info is not None and (folder / "ipykernel").is_dir():
            version = info.name.removesuffix(".dist-info").partition("-")[2]
            numbers = tuple(int(part) for part in re.findall(r"\d+", folder.parent.name))
            return Python(numbers, version, "", (folder / "debugpy").is_dir(), "", str(folder / "ipykernel"))
    return None
