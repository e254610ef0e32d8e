"""The lines to type: exact, and harmless whatever stands in a job's ad."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from htcmagic.pool.address import Pool
from htcmagic.queue.why.model import Group
from htcmagic.queue.why.words import selection

EXPANDED = re.compile(r"[{}]|\$[\w.$]")
RUN = "HtcmagicRun"
"""The attribute that jobs have which were sent from a notebook."""


@dataclass(frozen=True, slots=True)
class Hand:
    """How commands reach a pool.

    Parameters
    ----------
    pool : Pool
        Which.
    named : bool
        Whether magics have to name it, since it is not the one in use.
    """

    pool: Pool
    named: bool = False

    def magic(self, *words: str) -> str:
        """Return a magic's line."""
        return shlex.join([*words, *(self._options("--schedd", "--pool") if self.named else ())])

    def program(self, name: str, *words: str) -> str:
        """Return a line that runs a program of HTCondor's, by its magic if there is one."""
        if _has_magic(name):
            return self.magic(f"%{name}", *words)
        if self.pool.personal:
            return shell(_htc_pool(), "run", name, *words)
        return shell(name, *self._options("-name", "-pool"), *words)

    def release(self, group: Group) -> str:
        """Return the line that releases a group's jobs."""
        return self.magic("%condor_release", *selection(group.jobs, group.count, group.clusters))

    def remove(self, group: Group) -> str:
        """Return the line that removes a group's jobs."""
        return self.magic("%condor_rm", *selection(group.jobs, group.count, group.clusters))

    def edit(self, group: Group, changes: Mapping[str, str]) -> tuple[str, ...]:
        """Return the lines that set attributes, given as ClassAd expressions, of a group's jobs."""
        cluster = next(iter(group.clusters))
        ours = len(group.clusters) == 1 and bool(group.text(RUN)) and not self.named
        if not _has_magic("condor_qedit") and ours and all(name.isidentifier() for name in changes):
            arguments = ", ".join(f"{name}={_python(value)}" for name, value in changes.items())
            return ("import htcmagic", f"htcmagic.cluster({cluster}).edit({arguments})")
        pairs = [word for pair in changes.items() for word in pair]
        return (self.program("condor_qedit", *_which(group), *pairs),)

    def _options(self, name: str, pool: str) -> list[str]:
        given = ((name, "personal" if self.pool.personal else self.pool.schedd), (pool, self.pool.collector))
        return [word for pair in given if pair[1] for word in pair]


def _which(group: Group) -> list[str]:
    if group.count == 1:
        return [str(group.jobs[0])]
    clusters = " || ".join(f"ClusterId == {cluster}" for cluster in sorted(group.clusters))
    if len(group.clusters) > 1:
        clusters = f"({clusters})"
    elif group.count == group.number("TotalSubmitProcs"):
        return [str(next(iter(group.clusters)))]
    return ["-constraint", f"JobStatus == {group.status} && {clusters}"]


def _python(value: str) -> str:
    return value if value.isdecimal() else repr(value)


def shell(*words: str) -> str:
    """Return a line that runs a program; by Python where IPython's ``!`` would fill in ``$name`` and ``{name}``."""
    line = shlex.join(words)
    if EXPANDED.search(line):
        return f"import subprocess; subprocess.run({list(words)!r})"
    return f"!{line}"


def _htc_pool() -> str:
    """Return how a shell finds htc-pool: Jupyter does not put a kernel's programs onto its PATH."""
    beside = Path(sys.executable).with_name("htc-pool")
    return str(beside) if shutil.which("htc-pool") is None and beside.exists() else "htc-pool"


def _has_magic(name: str) -> bool:
    """Whether there is such a magic in this session."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and shell.find_line_magic(name) is not None


def printable(text: str) -> bool:
    """Whether a text can be offered for typing at all."""
    return text.isprintable() and len(text) < 2000
