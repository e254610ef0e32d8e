"""Reading a magic's line: IPython's ``magic_arguments``, with HTCondor's spelling of options.

HTCondor's tools write long options with one dash (``-constraint``), Python's with two: both are taken, at any place
of the line. ``$x`` and ``{x}`` are left alone, since ClassAds are full of them.
"""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Callable
from typing import Any

from IPython.core.error import UsageError
from IPython.core.magic_arguments import argument

PROGRAMS = frozenset(
    f"%condor_{name}"
    for name in (
        *("q", "rm", "hold", "release", "suspend", "continue", "vacate_job", "prio", "qedit", "wait", "submit"),
    )
)
"""Magics named after a program of HTCondor's, which has more options."""


def parse(function: Any, line: str) -> argparse.Namespace:
    """Return the options of `line` as the decorators of `function` declare them.

    Raises
    ------
    UsageError
        An unknown option, or quotes that do not close: one line, no traceback.
    """
    parser: argparse.ArgumentParser = function.parser
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise UsageError(f"{error}: {line.strip()}") from None
    name = "%" + parser.prog.lstrip("%")
    known = parser._option_string_actions  # noqa: SLF001
    words = [spelled(word, known) for word in words]
    for word in words:
        if re.match(r"--?[A-Za-z]", word) and not _is_known(word, known):
            near = suggestion(word, known)
            program = f" The program itself: !htc-pool run {name[1:]} {word}" if not near and name in PROGRAMS else ""
            raise UsageError(f"{name} has no option {word}.{near} Its options: {name}?{program}")
    parsed: argparse.Namespace = parser.parse_intermixed_args(words)
    return parsed


def _is_known(word: str, known: dict[str, Any]) -> bool:
    return word.partition("=")[0] in known or (not word.startswith("--") and word[:2] in known)


def spelled(word: str, known: dict[str, Any]) -> str:
    """Return a word with HTCondor's one dash, and its abbreviations, as argparse wants it."""
    head, equals, value = word.partition("=")
    if (
        not head.startswith("-")
        or head.startswith("--")
        or len(head) < 3
        or not re.fullmatch(r"[A-Za-z][\w-]*", head[1:])
    ):
        return word
    if f"-{head}" in known:
        return f"-{head}{equals}{value}"
    longer = [option for option in known if option.startswith(f"-{head}")]
    return f"{longer[0]}{equals}{value}" if len(longer) == 1 else word


def suggestion(word: str, known: dict[str, Any]) -> str:
    """Return a hint at the option that was probably meant."""
    import difflib  # only after a slip

    near = difflib.get_close_matches(word.partition("=")[0], known, n=1)
    return f" Did you mean {near[0]}?" if near else ""


def pool_arguments(*flags: str) -> Callable[[Any], Any]:
    """Return a decorator that adds the choice of a schedd and a pool, the same for every magic.

    Parameters
    ----------
    *flags : str
        Spellings of the schedd's option beside ``--schedd``: HTCondor's tools say ``-name``.
    """

    def decorate(function: Any) -> Any:
        function = argument("--pool", default="", metavar="COLLECTOR", help="central manager: host or host:port")(
            function
        )
        return argument("--schedd", *flags, dest="schedd", default="", metavar="NAME", help="schedd to talk to")(
            function
        )

    return decorate
