"""A kernel of ours as one file for somebody else: its recipe, and the scripts of the user's that it needs.

A bundle is a gzipped tar of ``NAME/recipe.json`` and ``NAME/files/…``; the same kernel gives the same bytes. What a
machine decides is left out and found anew where the bundle is taken in: the image's copy, the runtime, an ipykernel put
beside.
Reading one never unpacks anything to disk: names are looked at first, contents come as bytes.
"""

from __future__ import annotations

import fnmatch
import gzip
import io
import json
import os
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from htcmagic.errors import KernelError
from htcmagic.kernels import create, own_files, wishes
from htcmagic.kernels.create import Order
from htcmagic.kernels.kernelspec import Kernel
from htcmagic.kernels.outside import SECRETS
from htcmagic.kernels.own_files import HERE, PLAIN, TAKEN
from htcmagic.kernels.recipe import Recipe, check_name
from htcmagic.kernels.stack import load

FORMAT = 1
RECIPE, FILES = "recipe.json", "files"
LARGEST_BYTES = 10_000_000
MOST_FILES = 100
EVERYWHERE = ("/cvmfs/", "/usr/", "/etc/", "/opt/")
"""Where scripts are the same for everybody, or the machine's own; they are not taken along."""


@dataclass(slots=True)
class Bundle:
    """A kernel on its way.

    Attributes
    ----------
    recipe : Recipe
        What it is made of; its own files are called ``$htc_folder/NAME``.
    files : mapping of str to bytes
        These, by name.
    inject : bool
        Whether an ipykernel was put beside its python.
    notes : list of str
        What was left out, and what is needed where it goes.
    """

    recipe: Recipe
    files: dict[str, bytes] = field(default_factory=dict)
    inject: bool = False
    notes: list[str] = field(default_factory=list)


def pack(kernel: Kernel) -> Bundle:
    """Return a kernel of ours as a bundle.

    Raises
    ------
    KernelError
        It is not ours, or a script of it cannot be read.
    """
    recipe = kernel.recipe
    made = Bundle(recipe, own_files.read(recipe, kernel.folder), bool(recipe.injected))
    for name in sorted(kernel.edited()):
        if name not in made.files:
            made.notes.append(f"{name} was edited by hand; that is not taken along.")
    defaults = wishes.default_hooks(recipe.name)
    hooks = () if recipe.hooks == defaults else tuple(_taken(path, made) for path in recipe.hooks)
    box = recipe.container
    sources = recipe.sources if box is not None else tuple(_taken(path, made) for path in recipe.sources)
    kept = tuple((name, value) for name, value in recipe.settings if not _is_secret(name))
    for name, _ in recipe.settings:
        if _is_secret(name):
            made.notes.append(
                f"{name} looks like a secret and is left out: set it there with htc-kernel edit --set {name}=…"
            )
    for what, path in (
        ("virtual environment", recipe.venv),
        ("conda environment", recipe.conda),
        ("python", recipe.python),
    ):
        if path.startswith(("/", "~")) and box is None and not path.startswith("/cvmfs/"):
            made.notes.append(f"The {what} {path} must be there where it goes.")
    if box is not None and box.image.startswith("/") and not box.image.startswith("/cvmfs/"):
        made.notes.append(f"The image {box.image} must be there where it goes.")
    if recipe.stack and not _is_shipped(recipe.stack):
        made.notes.append(f"The stack {recipe.stack} is your own or your site's: it must be known there.")
    plain = replace(box, path="", runtime="") if box is not None else None
    made.recipe = replace(recipe, sources=sources, hooks=hooks, settings=kept, injected="", creator="", container=plain)
    return made


def _taken(path: str, made: Bundle) -> str:
    """Take a script of the user's along; what it is called from then on."""
    if path.startswith(HERE) or not path.startswith("/") or "$" in path:
        return path
    if path.startswith(EVERYWHERE):
        if not path.startswith("/cvmfs/"):
            made.notes.append(f"{path} is not taken along: it must be there where it goes.")
        return path
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise KernelError(
            f"{path} cannot be taken along: {error.strerror}.", hint="Put it back, or edit the kernel."
        ) from None
    stem = "".join(char if PLAIN.fullmatch(f"a{char}") else "-" for char in Path(path).name).strip("-._") or "script"
    name, number = stem, 1
    while name in TAKEN or made.files.get(name, content) != content:
        number += 1
        name = f"{number}-{stem}"
    made.files[name] = content
    return HERE + name


def _is_secret(name: str) -> bool:
    return any(fnmatch.fnmatchcase(name.upper(), pattern) for pattern in SECRETS)


def _is_shipped(name: str) -> bool:
    import sys  # noqa: PLC0415

    try:
        folder = load(name).folder.resolve()
    except KernelError:
        return False
    shipped = Path(sys.prefix, "share", "jupyter", "htcmagic", "kernelspecs").resolve()
    return folder.is_relative_to(shipped) or folder.is_relative_to(Path(__file__).resolve().parents[2])


def write(bundle: Bundle) -> bytes:
    """Return a bundle's bytes; the same bundle, the same bytes."""
    told = {
        "format": FORMAT,
        "recipe": bundle.recipe.as_json(),
        "inject": bundle.inject,
        "notes": bundle.notes,
    }
    name = bundle.recipe.name
    contents = {f"{name}/{RECIPE}": (json.dumps(told, indent=1, sort_keys=True) + "\n").encode()}
    contents |= {f"{name}/{FILES}/{file}": content for file, content in bundle.files.items()}
    raw = io.BytesIO()
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for path in sorted(contents):
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(contents[path]), 0o644
            archive.addfile(entry, io.BytesIO(contents[path]))
    return raw.getvalue()


def read(file: Path) -> Bundle:
    """Return the bundle in a file.

    Raises
    ------
    KernelError
        It is no bundle, is damaged, or tries to be more than one.
    """
    try:
        with tarfile.open(file, mode="r:gz") as archive:
            contents = _contents(archive, file)
    except OSError as error:
        raise KernelError(f"{file} cannot be read: {error.strerror or error}.") from None
    except (tarfile.TarError, EOFError, ValueError, ArithmeticError) as error:
        raise _no_bundle(file, str(error) or type(error).__name__) from None
    names = {path.partition("/")[0] for path in contents}
    if len(names) != 1:
        raise _no_bundle(file, "it holds more than one kernel" if names else "it is empty")
    name = names.pop()
    try:
        told = json.loads(contents.pop(f"{name}/{RECIPE}"))
        if told["format"] != FORMAT:
            raise _no_bundle(file, f"it is of format {told['format']!r}, this htc-kernel reads {FORMAT}")
        recipe = _recipe(told["recipe"])
    except KeyError as error:
        raise _no_bundle(file, f"{error.args[0]} is missing") from None
    except (ValueError, TypeError) as error:
        raise _no_bundle(file, str(error)) from None
    files = {path.rpartition("/")[2]: content for path, content in contents.items()}
    _check(file, recipe, files)
    notes = told.get("notes")
    return Bundle(
        recipe, files, bool(told.get("inject")), [str(note) for note in notes] if isinstance(notes, list) else []
    )


def _contents(archive: tarfile.TarFile, file: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    size = 0
    for entry in archive:
        parts = entry.name.split("/")
        fits = (len(parts) == 2 and parts[1] == RECIPE) or (len(parts) == 3 and parts[1] == FILES)
        if not entry.isreg() or not fits or not all(PLAIN.fullmatch(part) for part in parts) or entry.name in found:
            raise _no_bundle(file, f"{entry.name!r} has no place in it")
        size += entry.size
        if size > LARGEST_BYTES or len(found) >= MOST_FILES:
            raise _no_bundle(file, "it is too large")
        content = archive.extractfile(entry)
        found[entry.name] = content.read() if content is not None else b""
    return found


def _no_bundle(file: Path, why: str) -> KernelError:
    return KernelError(f"{file} is no kernel's bundle: {why}.", hint="htc-kernel export NAME makes one.")


def _recipe(data: object) -> Recipe:
    """Read a recipe that a stranger has written: every value must be what it should."""
    if not isinstance(data, dict):
        raise TypeError("its recipe is no table")
    kinds: dict[str, Any] = {"options": dict, "settings": list, "timeout_s": int, "container": dict}
    kinds |= dict.fromkeys(("clean", "snapshot", "user_site"), bool)
    kinds |= dict.fromkeys(("modules", "sources", "hooks", "prepend_path"), list)
    for key, value in data.items():
        if not isinstance(value, kinds.get(key, str)) or (key == "timeout_s" and isinstance(value, bool)):
            raise TypeError(f"its {key} is {value!r}")
    texts = [text for key in ("modules", "sources", "hooks", "prepend_path") for text in data.get(key, [])]
    texts += [text for pair in data.get("settings", []) for text in (pair if isinstance(pair, list) else [None])]
    texts += [text for pair in data.get("options", {}).items() for text in pair]
    texts += [data.get(key, "") for key in ("name", "title", "stack", "conda", "venv", "python", "injected", "creator")]
    box = data.get("container", {})
    if "container" in data and not box.get("image"):
        raise TypeError("its container is of no image")
    texts += [text for key in ("flags", "binds", "passed", "groups") for text in box.get(key, [])]
    texts += [box.get(key, "") for key in ("image", "path", "runtime", "home")]
    if not all(isinstance(text, str) and "\0" not in text for text in texts):
        raise TypeError("its recipe has values that are no texts")
    return Recipe.from_json(data)


def _check(file: Path, recipe: Recipe, files: Mapping[str, bytes]) -> None:
    check_name(recipe.name)
    named = [path for path in (*recipe.sources, *recipe.hooks) if path.startswith(HERE)]
    for path in named:
        if path.removeprefix(HERE) not in files:
            raise _no_bundle(file, f"its script {path.removeprefix(HERE)} is missing")
    for name in files:
        if HERE + name not in named or name in TAKEN:
            raise _no_bundle(file, f"nothing needs its {name}")


def order(bundle: Bundle, name: str = "", *, ask: bool = True, dry_run: bool = False, report: create.Report) -> Order:
    """Return the kernel that a bundle makes on this machine.

    Parameters
    ----------
    bundle : Bundle
        What was read.
    name : str
        Another name than its own.
    ask : bool
        Whether its stack must be there.
    dry_run : bool
        Whether to leave its image and its stack alone.
    report : callable
        Is told what takes long.

    Raises
    ------
    KernelError
        Something it needs is not here: a stack, a release, an environment, an image.
    """
    recipe = bundle.recipe
    stack = load(recipe.stack) if recipe.stack else None
    wanted = wishes.wishes_of(recipe, stack) | {"name": name or recipe.name, "inject_ipykernel": bundle.inject}
    if not recipe.hooks:
        wanted.pop("hook", None)
    wanted["display_name"] = recipe.title
    made = create.order(wanted, report=report, look=ask and not dry_run, fetch=not dry_run)
    return Order(made.recipe, made.stack, made.inject, beside=bundle.files)


def save(content: bytes, file: Path, *, force: bool) -> None:
    """Write a bundle, whole or not at all.

    Raises
    ------
    KernelError
        There is such a file already, or none can be written.
    """
    if file.exists() and not force:
        raise KernelError(f"{file} is there already.", hint="Choose another with -o, or replace it with --force.")
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        aside.write_bytes(content)
        aside.replace(file)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise KernelError(
            f"Cannot write {file}: {error.strerror}.", hint="Choose another place with -o FILE."
        ) from None
