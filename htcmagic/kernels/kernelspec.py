"""A kernel's folder: what ``kernel.json`` says, the files beside it, and which kernels there are.

What made a kernel stands in its ``kernel.json`` under ``metadata.htcmagic``: version, command, recipe, what was probed,
and a hash of every file. A file whose hash differs was edited by hand, and is not overwritten unasked.
"""

from __future__ import annotations

import copy
import difflib
import hashlib
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any

from jupyter_core.paths import jupyter_path

from htcmagic import places
from htcmagic.errors import KernelError
from htcmagic.kernels import wrapper
from htcmagic.kernels.probe import Probe
from htcmagic.kernels.recipe import Recipe
from htcmagic.kernels.stack import LOGOS, Stack

ARGV = ["{resource_dir}/setup.sh", "-f", "{connection_file}"]
PROGRAMS = frozenset({"setup.sh"})
"""Files that are executable."""
VERSION: str = sys.modules["htcmagic"].__version__
"""Ours; asking the installed distribution would cost more than all else here."""
VERIFIER = "verify.py"
"""The stack's own test, kept beside, so that a check needs nothing but the kernel."""


def contents(
    recipe: Recipe, stack: Stack | None, probe: Probe | None, command: str, beside: Mapping[str, bytes] | None = None
) -> dict[str, bytes]:
    """Return every file of a kernel, by name; same input, same bytes.

    Parameters
    ----------
    recipe : Recipe
        What it is made of.
    stack : Stack or None
        The stack that the recipe names.
    probe : Probe or None
        What its python says of itself; None if it was not asked.
    command : str
        The command line that makes it anew.
    beside : mapping of str to bytes, optional
        Scripts of its own.
    """
    made = {
        **(beside or {}),
        "setup.sh": wrapper.render(recipe, stack, command).encode("utf-8", "surrogateescape"),
        "diagnose.py": (package_files("htcmagic.kernels") / "diagnose.py").read_bytes(),
        **_logos(recipe, stack),
    }
    if stack is not None and (stack.folder / VERIFIER).is_file():
        made[VERIFIER] = (stack.folder / VERIFIER).read_bytes()
    return {"kernel.json": _kernel_json(recipe, probe, command, made), **made}


def _kernel_json(recipe: Recipe, probe: Probe | None, command: str, beside: Mapping[str, bytes]) -> bytes:
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in beside.items()}
    own: dict[str, Any] = {
        "version": VERSION,
        "command": command,
        "recipe": recipe.as_json(),
        "files": hashes,
        "probe": probe.as_json() if probe is not None else None,
    }
    in_container = recipe.container is not None
    metadata: dict[str, Any] = {"debugger": probe is not None and probe.has_debugger, "htcmagic": own}
    if probe is not None and probe.has_curve:
        metadata["supported_encryption"] = ["curve"]
    data: dict[str, Any] = {
        "argv": ARGV,
        "display_name": recipe.title,
        "language": "python",
        "interrupt_mode": "message" if in_container and probe is not None and probe.takes_messages else "signal",
        "metadata": metadata,
    }
    if probe is not None and probe.protocol:
        data["kernel_protocol_version"] = probe.protocol
    hashes["kernel.json"] = _hash_of_json(data)
    return _text(data)


def _text(data: Mapping[str, Any]) -> bytes:
    return (json.dumps(data, indent=1, sort_keys=True) + "\n").encode()


def _hash_of_json(data: Mapping[str, Any]) -> str:
    """Return the hash of ``kernel.json`` without its own hash in it."""
    plain = copy.deepcopy(dict(data))
    plain["metadata"]["htcmagic"]["files"].pop("kernel.json", None)
    return hashlib.sha256(_text(plain)).hexdigest()


def _logos(recipe: Recipe, stack: Stack | None) -> dict[str, bytes]:
    """Return the stack's logos, or the generic ones of what the kernel is made of."""
    if stack is not None:
        found = {name: stack.folder / name for name in LOGOS if (stack.folder / name).is_file()}
        if found:
            return {name: path.read_bytes() for name, path in found.items()}
    kind = "container" if recipe.container else "environment" if recipe.venv or recipe.conda else "script"
    folder = package_files("htcmagic.kernels") / "logos" / kind
    return {name: (folder / name).read_bytes() for name in LOGOS}


@dataclass(frozen=True)
class Kernel:
    """A kernel that is installed, ours or not.

    Attributes
    ----------
    name : str
        Its folder's name, in small letters as Jupyter has it.
    folder : Path
        Where it is.
    data : mapping
        What ``kernel.json`` says; empty if it cannot be read.
    problem : str
        Why it cannot be read.
    """

    name: str
    folder: Path
    data: Mapping[str, Any]
    problem: str = ""

    @property
    def title(self) -> str:
        """What launchers show."""
        return str(self.data.get("display_name") or self.name)

    @property
    def argv(self) -> list[str]:
        """The command, with ``{resource_dir}`` filled in."""
        words = self.data.get("argv")
        listed = words if isinstance(words, list) else []
        return [str(word).replace("{resource_dir}", str(self.folder)) for word in listed]

    @cached_property
    def own(self) -> Mapping[str, Any]:
        """What we wrote about it; empty for a kernel that is not ours."""
        metadata = self.data.get("metadata")
        own = metadata.get("htcmagic") if isinstance(metadata, dict) else None
        return own if isinstance(own, dict) and isinstance(own.get("recipe"), dict) else {}

    @property
    def is_ours(self) -> bool:
        """Whether htcmagic made it."""
        return bool(self.own)

    @cached_property
    def recipe(self) -> Recipe:
        """What it is made of.

        Raises
        ------
        KernelError
            It is not ours, or what we wrote was destroyed.
        """
        if self.problem:
            raise KernelError(
                f"{self.folder}: {self.problem}.", hint="Mend it, or delete that folder and make it anew."
            )
        if not self.is_ours:
            raise KernelError(
                f"The kernel {self.name} in {self.folder} was not made by htc-kernel.",
                hint=f"htc-kernel list shows which were; to make it one of them: htc-kernel adopt {self.name}",
            )
        return Recipe.from_json(self.own["recipe"])

    @property
    def probe(self) -> Probe | None:
        """What its python said of itself when it was made."""
        return Probe.from_json(self.own.get("probe"))

    @property
    def command(self) -> str:
        """The command line that makes it anew."""
        return str(self.own.get("command", ""))

    def edited(self) -> dict[str, str]:
        """Return the files that are not as we wrote them, and what happened to each: edited, deleted, added."""
        hashes = self.own.get("files")
        if not isinstance(hashes, dict):
            return {"kernel.json": "edited"} if self.is_ours else {}
        found: dict[str, str] = {}
        for name, wanted in hashes.items():
            file = self.folder / name
            try:
                now = _hash_of_json(self.data) if name == "kernel.json" else _hash_of(file)
            except OSError:
                found[name] = "edited" if file.exists() else "deleted"
                continue
            if now != wanted:
                found[name] = "edited"
        for name in _listing(self.folder):
            if name not in hashes and name != "kernel.json" and not _is_litter(name):
                found[name] = "added"
        return found

    def broken(self) -> str:
        """Return why it cannot start, as far as a look at local files tells; empty if nothing was found."""
        if self.problem:
            return self.problem
        program = self.argv[0] if self.argv else ""
        if not program:
            return "kernel.json names no command"
        if program.startswith("/") and not _is_remote(program) and not os.access(program, os.X_OK):
            return f"{program} {'cannot be executed' if Path(program).exists() else 'is not there'}"
        return self._lacks() if self.is_ours else ""

    def _lacks(self) -> str:
        try:
            recipe = self.recipe
        except KernelError as error:
            return error.message
        inside = recipe.container
        needed = [inside.path or inside.image] if inside is not None else [recipe.venv, recipe.conda, *recipe.sources]
        gone = (path for path in needed if path.startswith("/") and "$" not in path and not _is_remote(path))
        return next((f"{path} is not there" for path in gone if not Path(path).exists()), "")

    def snapshots(self) -> list[Path]:
        """Return the files that keep its environment, if any."""
        try:
            script = (self.folder / "setup.sh").read_text(errors="replace") if self.is_ours else ""
        except OSError:
            return []
        found = re.search(r"^htc_snapshot=([\w.-]+)$", script, re.MULTILINE)
        folder = places.home() / "snapshots"
        return sorted(file for file in folder.glob(f"{found[1]}.*") if file.is_file()) if found else []

    def logs(self) -> list[Path]:
        """Return the logs of its set-ups."""
        own = re.compile(rf"{re.escape(self.name)}(\.\d+)?\.log")
        return sorted(file for file in (places.home() / "logs").glob("*.log") if own.fullmatch(file.name))

    @property
    def state(self) -> str:
        """One of ``ok``, ``edited by hand: …``, ``broken: …`` and, where nothing is wrong, ``not ours``."""
        broken = self.broken()
        if broken:
            return f"broken: {broken}"
        if not self.is_ours:
            return "not ours"
        edited = self.edited()
        return f"edited by hand: {', '.join(sorted(edited))}" if edited else "ok"

    @property
    def made_from(self) -> str:
        """What it is made of, in a few words."""
        if not self.is_ours:
            return " ".join(self.argv[:1])
        try:
            return told(self.recipe)
        except KernelError:
            return "?"


def told(recipe: Recipe) -> str:
    """Return what a recipe is made of, in a few words."""
    parts = []
    if recipe.stack:
        parts.append(" ".join([recipe.stack, *filter(None, recipe.options.values())]))
    parts += [f"module {name}" for name in recipe.modules]
    parts += [f"source {name}" for name in recipe.sources]
    parts += [f"conda {recipe.conda}"] if recipe.conda else []
    parts += [f"venv {recipe.venv}"] if recipe.venv else []
    parts += [f"container {recipe.container.image}"] if recipe.container else []
    return " + ".join(parts) or f"python {recipe.python}"


def _hash_of(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _listing(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in folder.iterdir())
    except OSError:
        return []


def _is_litter(name: str) -> bool:
    """Whether a file is a trace that programs leave, which nobody misses."""
    return name.startswith((".nfs", ".ipynb_checkpoints", "__pycache__")) or name.endswith((".swp", "~", ".pyc"))


def _is_remote(path: str) -> bool:
    """Whether looking at `path` may hang or mount something."""
    return path.startswith("/cvmfs/")


def folders() -> list[Path]:
    """Return the folders in which Jupyter looks for kernels, first wins."""
    own = Path(os.environ.get("IPYTHONDIR") or "~/.ipython").expanduser() / "kernels"
    return list(dict.fromkeys(Path(folder) for folder in [*jupyter_path("kernels"), str(own)]))


def read(folder: Path) -> Kernel:
    """Return the kernel in `folder`, readable or not."""
    name = folder.name.lower()
    try:
        data = json.loads((folder / "kernel.json").read_bytes())
    except OSError as error:
        return Kernel(name, folder, {}, f"kernel.json: {error.strerror}")
    except ValueError as error:
        return Kernel(name, folder, {}, f"kernel.json is not JSON: {error}")
    if not isinstance(data, dict):
        return Kernel(name, folder, {}, "kernel.json is not a JSON object")
    return Kernel(name, folder, data)


def kernels(within: Path | None = None) -> list[Kernel]:
    """Return all kernels that Jupyter sees, sorted by name; or those of one folder."""
    found: dict[str, Kernel] = {}
    for base in folders() if within is None else [within]:
        for folder in _in(base):
            found.setdefault(folder.name.lower(), read(folder))
    return [found[name] for name in sorted(found)]


def _in(base: Path) -> Iterator[Path]:
    for name in _listing(base):
        if re.fullmatch(r"[A-Za-z0-9._-]+", name) and (base / name / "kernel.json").is_file():
            yield base / name


def look_up(name: str, within: Path | None = None) -> Kernel | None:
    """Return the kernel that Jupyter finds under `name`, if any; or that of one folder."""
    if not re.fullmatch(r"[A-Za-z0-9._-]+", name) or name in {".", ".."}:
        return None
    for base in folders() if within is None else [within]:
        if (base / name / "kernel.json").is_file():
            return read(base / name)
        if name != name.lower() and (base / name.lower() / "kernel.json").is_file():
            return read(base / name.lower())
    return None


def find(name: str, within: Path | None = None) -> Kernel:
    """Return the kernel that Jupyter finds under `name`, ours or not.

    Parameters
    ----------
    name : str
        Its name.
    within : Path, optional
        A folder of kernels to look in, in place of Jupyter's.

    Raises
    ------
    KernelError
        There is none; the hint says which names are near.
    """
    found = look_up(name, within)
    if found is None:
        known = [kernel.name for kernel in kernels(within)]
        near = difflib.get_close_matches(name.lower(), known, n=3)
        hint = f"Did you mean {' or '.join(near)}?" if near else f"There are: {', '.join(known) or 'none'}."
        raise KernelError(f"There is no kernel {name!r}.", hint=hint)
    return found
