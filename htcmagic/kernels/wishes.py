"""What a user asks for, option by option, to a recipe and back: the same words make the same kernel again.

Wishes are a mapping from an option's name (``cvmfs``, ``prepend_path``) to its value; only what was given stands in it.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from htcmagic.errors import KernelError
from htcmagic.kernels import conda
from htcmagic.kernels.recipe import Container, Recipe, check_name, name_from
from htcmagic.kernels.stack import Stack, expanded, load

RUNTIME_FLAGS = ("contain", "cleanenv", "pid", "userns", "nv", "rocm")
Wishes = Mapping[str, Any]


SNAPSHOT = (
    "keep the environment of a slow set-up, and replay it while its scripts and repositories are the same; "
    "what those scripts source is not watched: htc-kernel refresh"
)


@dataclass(frozen=True, slots=True)
class Wish:
    """One option of ``htc-kernel create``.

    Attributes
    ----------
    flag : str
        As on the command line.
    kind : str
        ``text``, ``texts`` (may be given more than once), ``switch`` (with a ``--no-`` form) or ``seconds``.
    about : str
        One line for help.
    metavar : str
        What the value is called there.
    group : str
        The heading it stands under.
    """

    flag: str
    kind: str
    about: str
    metavar: str = ""
    group: str = ""

    @property
    def name(self) -> str:
        """The key in a mapping of wishes."""
        return self.flag.lstrip("-").replace("-", "_")


_FROM, _LOOK, _ENV, _BOX = "what it is made of (combine as needed)", "how it shows", "its environment", "in a container"
WISHES = tuple(
    Wish(*row)
    for row in (
        ("--cvmfs", "text", "a software stack; htc-kernel stacks lists them", "STACK", _FROM),
        ("--release", "text", "the stack's release; htc-kernel releases STACK lists them", "R", _FROM),
        ("--platform", "text", "the stack's platform, as x86_64-el9-gcc13-opt", "P", _FROM),
        ("--option", "texts", "another choice that the stack leaves", "K=V", _FROM),
        ("--module", "texts", "environment modules to load", "M", _FROM),
        ("--source", "texts", "scripts to source", "FILE", _FROM),
        ("--conda", "text", "a conda environment, by name or folder", "ENV", _FROM),
        ("--venv", "text", "a virtual environment's folder; on top of a stack it wins", "DIR", _FROM),
        ("--container", "text", "an image: a folder, a .sif file, docker://…", "IMAGE", _FROM),
        ("--python", "text", "the python to run, with variables of the set-up: '$MYENV/bin/python'", "EXPR", _FROM),
        ("--display-name", "text", "what launchers show", "TITLE", _LOOK),
        ("--set", "texts", "a variable to set at the end", "K=V", _ENV),
        ("--prepend-path", "texts", "folders to put before PATH at the end", "DIR", _ENV),
        ("--clean", "switch", "start from an almost empty environment", "", _ENV),
        ("--user-site", "switch", "let python see ~/.local/lib, where another python's packages may lie", "", _ENV),
        ("--hook", "texts", "scripts to source last (hooks/all.sh, hooks/NAME.sh in ~/.config/htcmagic)", "FILE", _ENV),
        ("--snapshot", "switch", SNAPSHOT, "", _ENV),
        ("--inject-ipykernel", "switch", "if its python has no ipykernel, put one beside it", "", _ENV),
        ("--timeout", "seconds", "longest time for the set-up (300)", "S", _ENV),
        ("--home", "text", "home folder inside: auto, none, or a folder", "DIR", _BOX),
        ("--bind", "texts", "folders to show inside", "SRC[:DST[:ro]]", _BOX),
        ("--pass", "texts", "variables that go in whatever the image sets; also secrets", "NAME|GLOB", _BOX),
        ("--pass-group", "texts", "sets of variables that go in: grid condor proxy locale (default: all)", "G", _BOX),
        ("--contain", "switch", "show nothing of the host but the binds", "", _BOX),
        ("--cleanenv", "switch", "pass only the variables that were named", "", _BOX),
        ("--pid", "switch", "processes of its own", "", _BOX),
        ("--userns", "switch", "in a user namespace", "", _BOX),
        ("--nv", "switch", "with NVIDIA's devices", "", _BOX),
        ("--rocm", "switch", "with AMD's devices", "", _BOX),
    )
)  # fmt: skip
_INSIDE = ("home", "bind", "pass", "pass_group", *RUNTIME_FLAGS)


def recipe_from(wishes: Wishes) -> tuple[Recipe, Stack | None]:
    """Return the recipe that was asked for, and its stack; the stack's repository is looked at, no image is.

    Raises
    ------
    KernelError
        An option that does not fit, a file that is not there; a stack or a release that is unknown.
    """
    stack = load(wishes["cvmfs"]) if wishes.get("cvmfs") else None
    inside = bool(wishes.get("container")) or (stack is not None and stack.kind == "container")
    if not inside:
        _check_outside(wishes)
    options = _options(wishes, stack, inside=inside)
    recipe = Recipe(
        name="unnamed",
        title="",
        stack=stack.name if stack else "",
        options=options,
        modules=_texts(wishes, "module"),
        sources=tuple(_file("--source", path, inside=inside) for path in _texts(wishes, "source")),
        conda=_conda(wishes.get("conda") or "", inside=inside),
        venv=_venv(wishes.get("venv") or "", inside=inside),
        python=_python(wishes.get("python") or "", inside=inside),
        settings=tuple(_setting("--set", text) for text in _texts(wishes, "set")),
        prepend_path=tuple(absolute(path) for path in _texts(wishes, "prepend_path")),
        clean=bool(wishes.get("clean")),
        snapshot=bool(wishes.get("snapshot")),
        user_site=bool(wishes.get("user_site")),
        timeout_s=_seconds(wishes.get("timeout", 300)),
        container=_container(wishes, expanded(stack.image, options) if stack else "") if inside else None,
    )
    if not (recipe.has_setup or recipe.python or recipe.container):
        raise KernelError(
            "A kernel of what?",
            hint="Name a stack, a script, an environment or an image: htc-kernel create --help shows examples.",
        )
    return _named(recipe, wishes, stack), stack


def _named(recipe: Recipe, wishes: Wishes, stack: Stack | None) -> Recipe:
    explicit = bool(wishes.get("release"))
    name = check_name(wishes.get("name") or default_name(recipe))
    named = replace(recipe, name=name)
    title = wishes.get("display_name") or default_title(named, stack, with_release=explicit)
    if not title.isprintable():
        raise KernelError(f"A kernel cannot be shown as {title!r}.", hint="Leave line breaks and control codes away.")
    hooks = wishes.get("hook")
    chosen = default_hooks(name) if hooks is None else tuple(absolute(path) for path in hooks if path)
    return replace(named, title=title, hooks=chosen)


def _options(wishes: Wishes, stack: Stack | None, *, inside: bool) -> dict[str, str]:
    given = dict(_setting("--option", text) for text in _texts(wishes, "option"))
    given |= {name: wishes[name] for name in ("release", "platform") if wishes.get(name)}
    if stack is None:
        if given:
            flag = f"--{next(iter(given))}" if set(given) & {"release", "platform"} else "--option"
            raise KernelError(
                f"{flag} says nothing without a stack.", hint="Add --cvmfs STACK; htc-kernel stacks lists them."
            )
        return {}
    from htcmagic.kernels import releases  # noqa: PLC0415 - only for stacks

    return dict(releases.resolve(stack, given, inside=inside))


def _check_outside(wishes: Wishes) -> None:
    for name in _INSIDE:
        if wishes.get(name):
            flag = f"--{name.replace('_', '-')}"
            raise KernelError(f"{flag} says nothing without a container.", hint="Add --container IMAGE.")


def _container(wishes: Wishes, needed: str) -> Container:
    image = wishes.get("container") or needed
    home = wishes.get("home") or "auto"
    groups = wishes.get("pass_group")
    return Container(
        image=image if image.startswith("/") or not Path(image).expanduser().exists() else absolute(image),
        home=home if home in {"auto", "none"} else _folder("--home", home),
        flags=tuple(name for name in RUNTIME_FLAGS if wishes.get(name)),
        binds=tuple(_bind(text) for text in _texts(wishes, "bind")),
        passed=_texts(wishes, "pass"),
        groups=Container("").groups if groups is None else _texts(wishes, "pass_group"),
    )


def _texts(wishes: Wishes, name: str) -> tuple[str, ...]:
    """Return a list's values; an empty word stands for none."""
    return tuple(text for text in wishes.get(name) or () if text)


def _setting(flag: str, text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise KernelError(f"{flag} {text}: there is no value.", hint=f"Write {flag} NAME=VALUE.")
    return name, value


def _seconds(value: object) -> int:
    if not isinstance(value, int) or not 1 <= value <= 86_400:
        raise KernelError(f"--timeout {value}: not a number of seconds from 1 to 86400.")
    return value


def absolute(path: str) -> str:
    """Return a path that means the same everywhere; one with variables in it is left alone."""
    if "$" in path:
        return path
    full = os.path.abspath(Path(path).expanduser())  # noqa: PTH100 - keeps links as they are
    if "$" in full:
        raise KernelError(
            f"{full} has a $ in its name, which here begins a variable.", hint="Give that folder another name."
        )
    return full


def _file(flag: str, text: str, *, inside: bool) -> str:
    path = absolute(text)
    if not inside and "$" not in path and not Path(path).is_file():
        raise KernelError(
            f"{flag} {text}: there is no such file.", hint="A path with variables is taken as it is: '$HOME/…'."
        )
    return path


def _folder(flag: str, text: str) -> str:
    path = absolute(text)
    if "$" not in path and not Path(path).is_dir():
        raise KernelError(f"{flag} {text}: there is no such folder.")
    return path


def _bind(text: str) -> str:
    return absolute(text) if text.startswith((".", "~")) and ":" not in text else text


def _python(text: str, *, inside: bool) -> str:
    if "/" not in text or "$" in text or text.startswith("~/"):
        return text
    path = absolute(text)
    if not inside and not os.access(path, os.X_OK):
        raise KernelError(
            f"--python {text}: there is no such program.", hint="A path with variables is taken as it is."
        )
    return path


def _venv(text: str, *, inside: bool) -> str:
    path = absolute(text) if text else ""
    if path and not inside and "$" not in path and not os.access(f"{path}/bin/python", os.X_OK):
        raise KernelError(
            f"--venv {text}: there is no virtual environment, as {path}/bin/python is not there.",
            hint=f"Make one: python3 -m venv {shlex.quote(text)}",
        )
    return path


def _conda(text: str, *, inside: bool) -> str:
    if not text or "$" in text or (inside and text.startswith("/")):
        return text
    if "/" in text or text.startswith("~"):
        path = absolute(text)
        if not os.access(f"{path}/bin/python", os.X_OK):
            raise KernelError(f"--conda {text}: there is no environment with a python in {path}.")
        return path
    known = conda.environments()
    if text not in known:
        hint = f"There are: {', '.join(sorted(known))}." if known else "None was found here: name its folder."
        raise KernelError(f"--conda {text}: there is no such environment.", hint=hint)
    return known[text]


def default_hooks(name: str) -> tuple[str, str]:
    """Return the user's scripts that every kernel sources if they are there, all kernels' and its own."""
    base = os.environ.get("XDG_CONFIG_HOME") or "$HOME/.config"
    return f"{base}/htcmagic/hooks/all.sh", f"{base}/htcmagic/hooks/{name}.sh"


def default_name(recipe: Recipe) -> str:
    """Return the name of a kernel that was given none: after the first thing it is made of."""
    if recipe.stack:
        return recipe.stack
    return name_from(_label(recipe))


def default_title(recipe: Recipe, stack: Stack | None, *, with_release: bool) -> str:
    """Return what launchers show for a kernel that was given no title."""
    if stack is not None:
        release = recipe.options.get("release", "") if with_release else ""
        return f"{stack.title} {release}".strip()
    label = " ".join(_label(recipe).split()) if recipe.name == default_name(recipe) else recipe.name
    return f"Python ({label})" if recipe.venv or recipe.conda else label


def _label(recipe: Recipe) -> str:
    for folder in (recipe.venv, recipe.conda):
        if folder:
            path = Path(folder)
            return path.parent.name if path.name in {"venv", ".venv", "env", ".env"} and path.parent.name else path.name
    if recipe.container is not None:
        last = recipe.container.image.rstrip("/").rpartition("/")[2]
        return (
            re.sub(r"\.(sif|img|simg)$", "", last)
            if "://" in recipe.container.image
            else re.sub(r"(:|\.(sif|img|simg)$).*", "", last)
        )
    if recipe.modules:
        return recipe.modules[0]
    if recipe.sources:
        return Path(recipe.sources[0]).stem
    return recipe.python.rpartition("/")[2]


def wishes_of(recipe: Recipe, stack: Stack | None) -> dict[str, Any]:
    """Return the wishes that make a recipe again."""
    box = recipe.container
    others = [f"{name}={value}" for name, value in recipe.options.items() if name not in {"release", "platform"}]
    wishes: dict[str, Any] = {
        "cvmfs": recipe.stack,
        "release": recipe.options.get("release", ""),
        "platform": recipe.options.get("platform", ""),
        "option": others,
        "module": list(recipe.modules),
        "source": list(recipe.sources),
        "conda": recipe.conda,
        "venv": recipe.venv,
        "python": recipe.python,
        "set": [f"{name}={value}" for name, value in recipe.settings],
        "prepend_path": list(recipe.prepend_path),
        "inject_ipykernel": bool(recipe.injected),
        **{name: getattr(recipe, name) for name in ("name", "clean", "snapshot", "user_site")},
    }
    if recipe.timeout_s != 300:
        wishes["timeout"] = recipe.timeout_s
    if recipe.hooks != default_hooks(recipe.name):
        wishes["hook"] = list(recipe.hooks)
    if box is not None:
        wishes |= {"container": box.image, "home": box.home if box.home != "auto" else "", "bind": list(box.binds)}
        wishes |= {"pass": list(box.passed), **dict.fromkeys(box.flags, True)}
        wishes |= {"pass_group": list(box.groups)} if box.groups != Container("").groups else {}
    if recipe.title != default_title(recipe, stack, with_release=bool(wishes["release"])):
        wishes["display_name"] = recipe.title
    return {name: value for name, value in wishes.items() if value or name in {"hook", "pass_group"}}


def command_of(recipe: Recipe, stack: Stack | None) -> str:
    """Return the command line that makes a recipe again, in any folder."""
    wishes = wishes_of(recipe, stack)
    words = ["htc-kernel", "create"]
    if wishes["name"] != default_name(recipe):
        words += ["--name", wishes["name"]]
    for wish in WISHES:
        value = wishes.get(wish.name)
        if wish.name == "hook" and value == []:
            words.append("--no-hooks")
        elif wish.name == "pass_group" and value == []:
            words += [wish.flag, ""]
        elif wish.kind == "switch":
            words += [wish.flag] if value else []
        elif value:
            for one in value if isinstance(value, list) else [str(value)]:
                words += [f"{wish.flag}={one}"] if one.startswith("-") else [wish.flag, one]
    return shlex.join(words)
