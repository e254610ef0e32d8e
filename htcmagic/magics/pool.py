"""``%condor_pool``."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from IPython.core.magic import Magics, line_magic, magics_class, no_var_expand
from IPython.core.magic_arguments import argument, magic_arguments

from htcmagic.magics.options import parse, pool_arguments
from htcmagic.magics.output import say

if TYPE_CHECKING:
    from htcmagic.pool.address import Pool, Schedd
    from htcmagic.pool.client import Client

SLOT_S = 5.0
"""A personal pool takes jobs at once, but tells of its slot only 1.2 s after it was started."""


@dataclass(frozen=True, slots=True)
class PoolView:
    """What there is to know of the pool in use."""

    pool: Pool
    schedd: Schedd
    slots: int
    cores: int
    memory_mib: int

    def rows(self) -> list[tuple[str, str]]:
        """Return label and text of each line."""
        method = f" (authenticated by {self.schedd.method})" if self.schedd.method else ""
        if self.pool.personal and os.getuid() == 0:
            method += "; HTCondor runs no jobs of root, so root's run as an ordinary user"
        plural = "" if self.slots == 1 else "s"
        return [
            ("Schedd", f"{self.schedd.name}  {self.schedd.address.partition('?')[0].strip('<>')}"),
            ("Collector", self.schedd.collector),
            ("HTCondor", self.schedd.version),
            ("I am", self.schedd.user + method),
            ("Chosen by", self.pool.origin),
            ("Size", f"{self.slots:,} slot{plural}, {self.cores:,} cores, {self.memory_mib / 1024:,.1f} GiB"),
        ]

    def __repr__(self) -> str:
        return "\n".join(f"{label:<10} {text}" for label, text in self.rows())

    def _repr_html_(self) -> str:
        cells = "".join(
            f'<tr><td style="text-align:left;opacity:.7;padding:.1em 1em .1em 0">{escape(label)}</td>'
            f'<td style="text-align:left;padding:.1em 0">{escape(text)}</td></tr>'
            for label, text in self.rows()
        )
        return f'<table style="border-collapse:collapse;font-size:13px">{cells}</table>'


@magics_class
class PoolMagics(Magics):
    """Which pool the notebook talks to."""

    @no_var_expand
    @line_magic
    @magic_arguments()
    @argument(
        "what",
        nargs="?",
        choices=["up", "down", "auto"],
        help="personal pool: start and use it, or stop it; auto: decide anew",
    )
    @pool_arguments("--name")
    def condor_pool(self, line: str) -> PoolView | None:
        """Show the pool in use, or choose another for this session.

        Without a choice: HTCondor's own configuration if it names a schedd, else a personal pool on this machine.

        Example::

            In [1]: %condor_pool

            In [2]: %condor_pool --schedd ap1.example.org --pool cm.example.org

            In [3]: %condor_pool up
        """
        from htcmagic.pool import personal, resolve
        from htcmagic.pool.address import Pool
        from htcmagic.pool.client import client

        args = parse(self.condor_pool, line)
        if args.what == "down":
            resolve.choose(None)
            personal.stay_down(wanted=True)
            say("The personal pool is down." if personal.down() else "The personal pool was not up.")
            return None
        if args.what == "up":
            personal.stay_down(wanted=False)
            resolve.choose(resolve.personal_pool(say))
        elif args.what == "auto":
            resolve.choose(None)
        elif args.schedd or args.pool:
            pool = Pool(args.schedd, args.pool, origin="%condor_pool")
            _ = client(pool).locate()
            resolve.choose(pool)
        return look(resolve.connect(report=say))


def look(there: Client) -> PoolView:
    """Ask a pool who and how large it is."""
    schedd = there.locate()
    size = there.slots()
    deadline = time.monotonic() + SLOT_S
    while there.pool.personal and not size["slots"] and time.monotonic() < deadline:
        time.sleep(0.1)
        size = there.slots()
    return PoolView(there.pool, schedd, **size)
