"""What a kernel is made of: the whole input of rendering it, kept in its ``kernel.json``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from htcmagic.errors import KernelError

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
"""Kernel names: what jupyter_client accepts, lower case, and no leading dot or dash."""
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Container:
    """The image a kernel runs in, and what it sees of the host.

    Attributes
    ----------
    image : str
        As the user named it: a folder, a SIF file, ``docker://…``.
    path : str
        What is started: `image`, or the copy of it that was pulled.
    runtime : str
        The runtime's program as it was found at creation; tried first, then those on PATH.
    home : str
        ``auto`` (the runtime decides), ``none``, or a folder to have as home.
    flags : tuple of str
        Of ``contain cleanenv pid userns nv rocm``.
    binds : tuple of str
        ``SOURCE[:TARGET[:ro|rw]]`` beside the usual ones.
    passed : tuple of str
        Names or globs of variables that go in whatever the image sets; also the only way for secrets.
    groups : tuple of str
        Named sets of variables: ``grid condor proxy locale``.
    """

    image: str
    path: str = ""
    runtime: str = ""
    home: str = "auto"
    flags: tuple[str, ...] = ()
    binds: tuple[str, ...] = ()
    passed: tuple[str, ...] = ()
    groups: tuple[str, ...] = ("locale", "condor", "grid", "proxy")


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides a kernel's files; same recipe and stack, same bytes.

    Attributes
    ----------
    name : str
        The kernel's name: its folder's.
    title : str
        What launchers show.
    stack : str
        Name of a folder below ``kernelspecs``; empty for none.
    options : mapping
        The stack's options, resolved: ``{"release": "LCG_107", …}``.
    modules : tuple of str
        Environment modules to load, after the stack.
    sources : tuple of str
        Scripts to source, after the modules.
    conda, venv : str
        An environment (name or folder) to activate, after the scripts.
    python : str
        The python to run: a command, a path, or a path with variables of the set-up such as ``$MYENV/bin/python``.
        Empty: the stack's, the environment's, or python3.
    settings : tuple of (str, str)
        Variables to set at the end.
    prepend_path : tuple of str
        Folders to put before PATH at the end.
    hooks : tuple of str
        Scripts of the user's to source last, where they are there.
    clean : bool
        Whether to start from an almost empty environment.
    snapshot : bool
        Whether to replay the environment of an earlier set-up while it holds.
    user_site : bool
        Whether python sees ``~/.local``.
    injected : str
        Folder with an ipykernel to use where python has none; empty for none.
    timeout_s : int
        Longest time a set-up may take.
    creator : str
        The python that made the kernel; its ipykernel tells why a set-up failed.
    container : Container or None
        The image, if any; the set-up then happens inside.
    """

    name: str
    title: str
    stack: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    modules: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    conda: str = ""
    venv: str = ""
    python: str = ""
    settings: tuple[tuple[str, str], ...] = ()
    prepend_path: tuple[str, ...] = ()
    hooks: tuple[str, ...] = ()
    clean: bool = False
    snapshot: bool = False
    user_site: bool = False
    injected: str = ""
    timeout_s: int = 300
    creator: str = ""
    container: Container | None = None

    def __post_init__(self) -> None:
        check_name(self.name)
        for name, value in self.settings:
            if not VARIABLE.fullmatch(name):
                raise KernelError(f"{name!r} is not a variable's name.", hint="Write --set NAME=VALUE.")
            if "\0" in value:
                raise KernelError(f"--set {name}: a value cannot hold a NUL byte.")

    @property
    def has_setup(self) -> bool:
        """Whether anything happens between the start and python."""
        return bool(self.stack or self.modules or self.sources or self.conda or self.venv or self.hooks)

    def as_json(self) -> dict[str, Any]:
        """Return the recipe as JSON values, without what has its default."""
        return _without_defaults(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Recipe:
        """Read what :meth:`as_json` wrote.

        Raises
        ------
        KernelError
            It was not written by this version or a compatible one.
        """
        try:
            values = dict(data)
            if values.get("container"):
                values["container"] = Container(**_tuples(values["container"]))
            return cls(**_tuples(values))
        except (TypeError, ValueError) as error:
            raise KernelError(f"The kernel's recipe cannot be read: {error}", hint="Create the kernel anew.") from None


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: tuple(tuple(one) if isinstance(one, list) else one for one in value) if isinstance(value, list) else value
        for name, value in values.items()
    }


def _without_defaults(value: Recipe | Container) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for one in fields(value):
        now = getattr(value, one.name)
        if isinstance(now, Container):
            kept[one.name] = _without_defaults(now)
        elif now != one.default and not (isinstance(now, Mapping) and not now):
            kept[one.name] = asdict(value)[one.name]
    return kept


def check_name(name: str) -> str:
    """Return `name` if a kernel can have it.

    Raises
    ------
    KernelError
        It has other characters than jupyter_client allows, or could leave the kernels folder.
    """
    if not NAME.fullmatch(name) or ".." in name:
        raise KernelError(
            f"A kernel cannot be named {name!r}.", hint="Names have small letters, digits, and . _ - after the first."
        )
    return name


def name_from(text: str) -> str:
    """Return a kernel name made from any text, such as an image's path."""
    plain = re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("-._")
    return re.sub(r"\.{2,}", ".", plain)[:60].strip("-._") or "kernel"
