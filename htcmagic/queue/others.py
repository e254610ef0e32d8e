"""``%condor_userprio``, ``%condor_version``, ``%condor_config``: the program's text, and data where it is cheap."""

from __future__ import annotations

import re
from collections.abc import Sequence

from htcmagic.errors import CellError
from htcmagic.pool.address import Pool
from htcmagic.queue import longform, program, spelling
from htcmagic.queue.listing import Listing, Record
from htcmagic.queue.spelling import MANY

USERPRIO = {
    **dict.fromkeys(
        (
            *("allusers", "priority", "usage", "quotas", "most", "all", "flat", "hierarchical", "grouporder"),
            *("grouprollup", "groupid", "order", "sortkey", "surplus", "collector", "negotiator", "long", "legacy"),
            "modular",
        ),
        0,
    ),
    "activefrom": 3,
    "getreslist": 1,
    "inputfile": 1,
    "constraint": 1,
    "autoformat": MANY,
    "af": MANY,
}
VERSION = {"arch": 0, "opsys": 0}
CONFIG = {
    **dict.fromkeys(
        (
            *("dump", "default", "expanded", "raw", "verbose", "trace", "evaluate", "used", "unused", "config"),
            *("mixedcase", "summary", "master", "schedd", "startd", "collector", "negotiator", "macro"),
        ),
        0,
    ),
    "local-name": 1,
    "subsystem": 1,
}
EDITS = frozenset({"-set", "-unset", "-rset", "-runset"})
_SETTING = re.compile(r"(?m)^([A-Za-z_][\w.$]*) ?= ?(.*)$")
_VERSION = re.compile(r"\$Condor(\w+): (.*?) *\$")


def _where(pool: Pool) -> list[str]:
    return ["-pool", pool.collector] if pool.collector else []


def userprio(pool: Pool, words: Sequence[str]) -> Listing:
    """Return users, their priorities and their use, as the negotiator knows them."""
    asked = spelling.read("condor_userprio", words, USERPRIO, {"l": "long"})
    whole = spelling.given(asked, "long", "autoformat", "af", "legacy", "modular")
    names = [*_where(pool), *(part for word in asked if not word.name for part in word.spelled())]
    return program.table(
        pool,
        "condor_userprio",
        [*_where(pool), *spelling.spelled(asked)],
        parse=longform.ads if whole and spelling.given(asked, "modular") else None,
        read=lambda: longform.ads(program.text(pool, "condor_userprio", [*names, "-allusers", "-long", "-modular"])),
    )


def version(pool: Pool, words: Sequence[str]) -> Listing:
    """Return the version of HTCondor's programs here."""
    asked = spelling.read("condor_version", words, VERSION, {})

    def parse(printed: str) -> list[Record]:
        return [{name.upper(): value for name, value in _VERSION.findall(printed)}]

    return program.table(pool, "condor_version", spelling.spelled(asked), parse=parse)


def config(pool: Pool, words: Sequence[str]) -> Listing:
    """Return HTCondor's configuration: all of it, or the named settings."""
    if EDITS & {word.lower().replace("--", "-") for word in words}:
        raise CellError("%condor_config only shows the configuration.", hint="To change it: condor_config_val, outside")
    asked = spelling.read("condor_config", words, CONFIG, {})
    names = [word for word in asked if not word.name]
    handed = spelling.spelled(asked) if asked else ["-dump"]

    def parse(printed: str) -> list[Record]:
        lines = printed.splitlines()
        if len(asked) == len(names) == len(lines) and names:
            found = list(zip((word.values[0] for word in names), lines, strict=True))
        else:
            found = _SETTING.findall(printed)
        return [{"NAME": name, "VALUE": value} for name, value in found]

    return program.table(pool, "condor_config_val", handed, title="condor_config", parse=parse)
