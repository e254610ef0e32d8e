"""Software stacks as data: a folder with ``stack.toml``, ``setup.sh``, ``verify.py`` and logos.

They are found along Jupyter's data paths below ``htcmagic/kernelspecs``, and in ``/etc/htcmagic/kernelspecs``; the
first folder of a name wins, and ours come last: a user's or a site's stack of the same name overrides one of them.
:mod:`tomllib` reads them; nothing of them is run here.
"""

from __future__ import annotations

import difflib
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from htcmagic.errors import StackError
from htcmagic.kernels.recipe import NAME, VARIABLE

KINDS = ("source", "eval", "exec", "container")
LOGOS = ("logo-64x64.png", "logo-32x32.png", "logo-svg.svg")
SITE = Path("/etc/htcmagic/kernelspecs")
"""Where an administrator puts stacks that win over ours, whoever installed htcmagic."""
_VARIABLE = re.compile(r"\$(?:\{htc_([A-Za-z_]\w*)\}|htc_([A-Za-z_]\w*))")


@dataclass(frozen=True, slots=True)
class Option:
    """One choice a stack leaves: bash reads it as ``$htc_NAME``.

    Attributes
    ----------
    name : str
        ``release``, ``platform`` …
    about : str
        One line for help.
    default : str
        A value, with ``{arch}`` in it or not; or ``latest`` for the newest of the listed, if any is.
    required : bool
        Whether a kernel cannot be made without it.
    listed : tuple of str
        Globs below ``/cvmfs``. ``{arch}`` is as ``x86_64``, ``{cpu}`` as ``amd64``, ``{os}`` every spelling of this
        machine's system, ``{NAME}`` the value of an option before this one. Each match's last part is a value, or what
        `pattern` finds. All are valid; ``latest`` takes from the first glob that gives any.
    pattern : str
        Regular expression, searched in a match's path: its groups, joined by a comma, are the value; what it does not
        match gives none.
    latest : str
        Regular expression for all of a value that ``latest`` may take; empty for any.
    unlisted : str
        Regular expression for all of a value that is right without being listed; empty for none.
    """

    name: str
    about: str = ""
    default: str = ""
    required: bool = False
    listed: tuple[str, ...] = ()
    pattern: str = ""
    latest: str = ""
    unlisted: str = ""


@dataclass(frozen=True, slots=True)
class Stack:
    """A software stack: its ``stack.toml``, and the bash that sets it up.

    Attributes
    ----------
    name, title, about : str
        The folder's name; what launchers show; one line.
    folder : Path
        Where it was found.
    kind : str
        How it is set up: ``source`` (a script that is sourced), ``eval`` (a command whose output is evaluated),
        ``exec`` (``setup.sh`` fills the array ``htc_exec``, a command to run others by) or ``container`` (inside
        `image`).
    repositories : tuple of str
        CVMFS repositories that must be mounted.
    entries : tuple of str
        Scripts that the set-up starts with, ``$htc_OPTION`` allowed; they must exist, and a snapshot depends on them.
    markers : tuple of str
        Variables that are non-empty after a set-up that worked; ``setup.sh`` may set the array ``htc_markers`` anew.
    python : str
        The command to look up on PATH after the set-up, or a path.
    python_under : tuple of str
        How its path, or what that is a link to, must begin; ``$htc_OPTION`` allowed, empty for anywhere. ``setup.sh``
        may set the array ``htc_under`` anew.
    systems : tuple of str
        Operating systems outside which the set-up refuses to work, as ``el9``, ``ubuntu22``, ``debian12``; empty for
        any. Not looked at where the set-up happens in an image.
    scrubbed : tuple of str
        Inherited variables to forget first: names, or prefixes ending in ``*``.
    preset : mapping
        Variables to export before the set-up.
    image : str
        The image it needs, for kind ``container``; ``$htc_OPTION`` allowed.
    options : mapping of str to Option
        In the order of the file.
    setup : str
        Literal bash.
    status, sources : str, tuple of str
        What of it was tried, and where the recipe comes from: public pages.
    """

    name: str
    title: str
    folder: Path
    about: str = ""
    kind: str = "source"
    repositories: tuple[str, ...] = ()
    entries: tuple[str, ...] = ()
    markers: tuple[str, ...] = ()
    python: str = "python3"
    python_under: tuple[str, ...] = ()
    systems: tuple[str, ...] = ()
    scrubbed: tuple[str, ...] = ()
    preset: Mapping[str, str] = field(default_factory=dict)
    image: str = ""
    options: Mapping[str, Option] = field(default_factory=dict)
    setup: str = ""
    status: str = ""
    sources: tuple[str, ...] = ()

    @property
    def image_repository(self) -> str:
        """The CVMFS repository that the image is in; empty if none."""
        parts = self.image.split("/")
        return parts[2] if parts[:2] == ["", "cvmfs"] and len(parts) > 2 else ""


_TABLES = {"options": Option, "preset": str}
_LISTS = ("repositories", "entries", "markers", "python_under", "systems", "scrubbed", "sources")


def expanded(text: str, options: Mapping[str, str]) -> str:
    """Return `text` with the value of each option in place of its ``$htc_NAME``."""
    return _VARIABLE.sub(lambda found: options.get(found[1] or found[2], ""), text)


def shipped() -> list[Path]:
    """Return the folders that hold our own stacks: a checkout's, and as installed (beside a checkout, an old copy)."""
    return [Path(__file__).parents[2] / "kernelspecs", Path(sys.prefix, "share/jupyter/htcmagic/kernelspecs")]


def search_path() -> list[Path]:
    """Return the folders in which stacks are looked for, first wins."""
    from jupyter_core.paths import jupyter_path  # noqa: PLC0415 - 25 ms that a kernel without a stack saves

    ours = [folder for folder in shipped() if folder.is_dir()]
    real = [folder.resolve() for folder in ours]
    named = [Path(folder) for folder in jupyter_path("htcmagic", "kernelspecs")]
    others = [folder for folder in named if folder.resolve() not in real]
    return [*others, SITE, *ours[:1]]


def folders() -> dict[str, Path]:
    """Return every stack's name and folder, sorted by name."""
    return {name: found[0] for name, found in all_folders().items()}


def all_folders() -> dict[str, list[Path]]:
    """Return every stack's name and folders, the one that wins first, sorted by name."""
    found: dict[str, list[Path]] = {}
    real: set[Path] = set()
    for base in search_path():
        for file in _files(base):
            if (where := file.parent.resolve()) not in real:
                real.add(where)
                found.setdefault(file.parent.name, []).append(file.parent)
    return dict(sorted(found.items()))


def _files(base: Path) -> Iterator[Path]:
    try:
        yield from sorted(file for file in base.glob("*/stack.toml") if NAME.fullmatch(file.parent.name))
    except OSError:
        return


def load(name: str) -> Stack:
    """Return the stack called `name`.

    Raises
    ------
    StackError
        There is none, or its files cannot be read.
    """
    known = folders()
    if name not in known:
        near = difflib.get_close_matches(name.lower(), known, n=3)
        hint = f"Did you mean {' or '.join(near)}?" if near else f"There are: {', '.join(known) or 'none'}."
        raise StackError(f"There is no stack {name!r}.", hint=hint)
    return read(known[name])


def read(folder: Path) -> Stack:
    """Return the stack of one folder.

    Raises
    ------
    StackError
        ``stack.toml`` or ``setup.sh`` is missing, is not what it should be, or has an unknown key.
    """
    file = folder / "stack.toml"
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
        setup = (folder / "setup.sh").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise StackError(f"{file} cannot be used: {error}") from None
    values = _plain(file, data)
    kind = values.get("kind", "source")
    if not values.get("title"):
        raise StackError(f"{file}: title is missing.")
    if kind not in KINDS:
        raise StackError(f"{file}: kind {kind!r} is none of {', '.join(KINDS)}.")
    if kind == "container" and not values.get("image"):
        raise StackError(f"{file}: a stack of kind container needs an image.")
    preset = {name: str(value) for name, value in _table(file, "preset", data).items()}
    for name in [*preset, *values["markers"]]:
        if not VARIABLE.fullmatch(name):
            raise StackError(f"{file}: {name!r} is not a variable's name.")
    options = {name: _option(file, name, table) for name, table in _table(file, "options", data).items()}
    return Stack(name=folder.name, folder=folder, setup=setup, preset=preset, options=options, **values)


def _plain(file: Path, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is no table, checked for its name and type."""
    known = {"title", "about", "kind", "python", "image", "status", *_LISTS, *_TABLES}
    values: dict[str, Any] = {}
    for key, value in data.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            raise StackError(f"{file}: unknown key {key!r}.", hint=f"Did you mean {near[0]}?" if near else "")
        if key in _LISTS:
            values[key] = _texts(file, key, value)
        elif key not in _TABLES:
            if not isinstance(value, str):
                raise StackError(f"{file}: {key} must be a text.")
            values[key] = value
    return dict.fromkeys(_LISTS, ()) | values


def _table(file: Path, key: str, data: Mapping[str, Any]) -> dict[str, Any]:
    table = data.get(key, {})
    if not isinstance(table, dict):
        raise StackError(f"{file}: {key} must be a table.")
    return table


def _texts(file: Path, key: str, value: object) -> tuple[str, ...]:
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
        raise StackError(f"{file}: {key} must be a list of texts.")
    return tuple(listed)


def _option(file: Path, name: str, table: object) -> Option:
    if not VARIABLE.fullmatch(name) or not isinstance(table, dict):
        raise StackError(f"{file}: [options.{name}] must be a table with a plain name.")
    if name in _taken():
        raise StackError(f"{file}: an option cannot be called {name}: htc_{name} is used by what sets stacks up.")
    values = dict(table)
    values["listed"] = _texts(file, f"options.{name}.listed", values.get("listed", []))
    for key in ("pattern", "latest", "unlisted"):
        try:
            re.compile(str(values.get(key, "")))
        except re.error as error:
            raise StackError(f"{file}: [options.{name}] {key} is no regular expression: {error}.") from None
    try:
        return Option(name=name, **values)
    except TypeError:
        raise StackError(f"{file}: [options.{name}] has an unknown key.") from None


@cache
def _taken() -> frozenset[str]:
    """Return the names of variables that the machinery around a set-up has for itself."""
    folder = Path(__file__).parent
    texts = [file.read_text(encoding="utf-8") for file in [*folder.glob("bash/*.bash"), folder / "wrapper.py"]]
    return frozenset(re.findall(r"\bhtc_(\w+)", "\n".join(texts))) - {"NAME"}
