"""What ``bash/outside.bash`` has to know of a recipe, as assignments: pure."""

from __future__ import annotations

import fnmatch
import shlex
from collections.abc import Callable, Iterable

from htcmagic.errors import ContainerError
from htcmagic.kernels.recipe import Container, Recipe

GROUPS = {
    "locale": ("LANG", "LANGUAGE", "LC_*", "TZ"),
    "condor": ("CONDOR_CONFIG", "_CONDOR_*"),
    "grid": (
        "X509_*", "BEARER_TOKEN_FILE", "KRB5CCNAME", "KRB5_CONFIG", "VOMS_USERCONF", "GLOBUS_*", "XRD_*", "XrdSec*",
        "RUCIO_*",
    ),
    "proxy": (
        "X509_USER_PROXY", "http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy", "HTTP_PROXY",
        "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY",
    ),
}  # fmt: skip
"""Sets of variables that ``--pass-group`` names."""
SECRETS = (
    "JUPYTERHUB_*", "JPY_API_TOKEN", "TOKEN", "*_TOKEN", "*_TOKENS", "*_TOKEN_*", "*PASSWORD*", "*PASSWD*",
    "*PASSPHRASE*", "*SECRET*", "*CREDENTIAL*", "*_KEY", "*_KEYS", "*APIKEY*", "*API_KEY*", "*PRIVATE_KEY*", "SSH_*",
    "AWS_*", "GPG_*", "AZURE_*",
)  # fmt: skip
"""Variables that never go in unless named, whatever their case."""
FLAGS = ("contain", "cleanenv", "pid", "userns", "nv", "rocm")


def outside_values(recipe: Recipe, scrubbed: Iterable[str], word: Callable[[str], str]) -> str:
    """Return bash assignments for the image's outside; nothing without an image.

    Parameters
    ----------
    recipe : Recipe
        The kernel's.
    scrubbed : iterable of str
        Inherited variables that must not go in: names, or prefixes ending in ``*``.
    word : callable
        Quotes a path for bash but for the variables in it.
    """
    box = recipe.container
    if box is None:
        return ""
    groups = [name for group in box.groups for name in GROUPS[group]]
    forbidden = [*SECRETS, *scrubbed]
    named = [glob for glob in box.passed if _names(glob, forbidden)]
    literal = [name for name in box.passed if not _is_glob(name)]
    lines = [
        f"htc_image={shlex.quote(box.path or box.image)}",
        f"htc_runtime={shlex.quote(box.runtime)}",
        f"htc_image_home={shlex.quote(box.home)}",
        f"htc_flags=({' '.join(f'--{flag}' for flag in box.flags)})",
        f"htc_binds=({' '.join(map(shlex.quote, box.binds))})",
        f"htc_groups=' {' '.join(box.groups)} '",
        f"htc_passed={_pattern([*box.passed, *groups])}",
        f"htc_named={_pattern([*named, *groups])}",
        f"htc_literal={shlex.quote(' '.join(literal))}",
        f"htc_secret={_pattern(SECRETS)}",
        f"htc_scrubbed={_pattern(scrubbed)}",
        f"htc_injected={shlex.quote(recipe.injected)}",
        f"htc_plain={'1' if is_plain(recipe) else ''}",
        f"htc_hooks=({' '.join(map(word, recipe.hooks))})",
        *_settings(recipe, word),
    ]
    return "\n".join(lines) + "\n"


def is_plain(recipe: Recipe) -> bool:
    """Return whether python can be started directly in the image, as long as none of the user's scripts is there.

    Nothing is set up, and python's place needs no shell inside.
    """
    setup = recipe.stack or recipe.modules or recipe.sources or recipe.conda or recipe.venv
    return not setup and "$" not in recipe.python and not recipe.snapshot


def check(box: Container) -> None:
    """Refuse what the wrapper could not carry out.

    Raises
    ------
    ContainerError
        A group, a flag, a name or a home folder is not one.
    """
    for group in box.groups:
        if group not in GROUPS:
            raise ContainerError(f"There is no group of variables {group!r}.", hint=f"There are {', '.join(GROUPS)}.")
    for flag in box.flags:
        if flag not in FLAGS:
            raise ContainerError(f"There is no container flag {flag!r}.", hint=f"There are {', '.join(FLAGS)}.")
    for name in box.passed:
        if not name or not all(one.isascii() and (one.isalnum() or one in "_*?") for one in name):
            raise ContainerError(
                f"{name!r} names no variable.", hint="Write --pass NAME, with * and ? for any characters."
            )
    if ":" in box.home:
        raise ContainerError(
            f"{box.home} cannot be the home folder inside: its name has a colon.", hint="Use another folder."
        )


def _settings(recipe: Recipe, word: Callable[[str], str]) -> list[str]:
    """Return the function that gives what the recipe sets; with a set-up inside, its end sets it."""
    lines = [f"    htc_give {name} {shlex.quote(value)}" for name, value in recipe.settings]
    if recipe.prepend_path:
        lines.append(f"    htc_give PREPEND_PATH {':'.join(map(word, recipe.prepend_path))}")
    if recipe.injected:
        lines.append(f"    htc_give HTCMAGIC_INJECT {shlex.quote(recipe.injected)}")
    if lines:
        lines = ["    [[ -n $htc_plain ]] || return 0", *lines]
    if not recipe.user_site:
        lines.insert(0, "    htc_give PYTHONNOUSERSITE 1")
    return ["htc_settings() {", *(lines or ["    :"]), "}"]


def _is_glob(name: str) -> bool:
    return any(one in name for one in "*?[")


def _names(glob: str, forbidden: Iterable[str]) -> bool:
    """Return whether `glob` names what is forbidden, rather than happening to match it as ``*`` does."""
    return not _is_glob(glob) or any(
        fnmatch.fnmatchcase(text, one) for one in forbidden for text in (glob, glob.upper())
    )


def _pattern(globs: Iterable[str]) -> str:
    return shlex.quote(f"@({'|'.join(dict.fromkeys(globs))})")
