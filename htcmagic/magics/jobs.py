"""``%condor_jobs`` and the commands on jobs: ``%condor_rm %condor_hold %condor_release %condor_wait``."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_magic, magics_class, no_var_expand
from IPython.core.magic_arguments import argument, magic_arguments

from htcmagic.errors import HTCMagicError
from htcmagic.magics.options import parse, pool_arguments
from htcmagic.magics.output import say

if TYPE_CHECKING:
    from htcmagic.jobs.cluster import Cluster

ID = re.compile(r"\d+(\.\d+)?\Z")
USER = re.compile(r"[\w.@-]+\Z")
DONE_TO = {"Remove": "marked for removal", "Hold": "held", "Release": "released"}


class ClusterList(Sequence["Cluster"]):
    """Clusters that this user sent, newest first."""

    def __init__(self, clusters: list[Cluster]) -> None:
        self._clusters = clusters

    def __len__(self) -> int:
        return len(self._clusters)

    def __getitem__(self, index: Any) -> Any:
        return self._clusters[index]

    def __repr__(self) -> str:
        from htcmagic.jobs import display

        return "\n".join(display.line(cluster) for cluster in self) or "You have sent nothing yet: see %%condor?"

    def _repr_html_(self) -> str:
        from htcmagic.jobs import display

        if not self._clusters:
            return f"<p>{escape(repr(self))}</p>"
        return "".join(display.html(cluster) for cluster in self)


def act_arguments(function: Any) -> Any:
    """Add what condor_rm, condor_hold and condor_release take."""
    for decorate in reversed(
        [
            argument(
                "jobs", nargs="*", metavar="JOB", help="cluster.proc, a cluster (id, variable, batch name) or a user"
            ),
            argument(
                "--constraint", default="", metavar="EXPR", help="all jobs for which this ClassAd expression is true"
            ),
            argument("--all", action="store_true", help="all jobs that you may act on"),
            argument("--reason", default="", help="text kept in the job's ad"),
            pool_arguments("--name"),
        ]
    ):
        function = decorate(function)
    return function


@magics_class
class JobsMagics(Magics):
    """What I sent, and what to do with it."""

    @no_var_expand
    @line_magic
    @magic_arguments()
    @argument("name", nargs="?", help="only clusters with this batch name or id")
    @argument("--limit", type=int, default=20, help="most of them (default: 20)")
    def condor_jobs(self, line: str) -> ClusterList:
        """List the clusters I sent, from any notebook, also before a kernel restart.

        Example::

            In [1]: %condor_jobs

            In [2]: import htcmagic; scan = htcmagic.cluster("scan")
        """
        from htcmagic.jobs import store

        args = parse(self.condor_jobs, line)
        found = store.clusters(args.name, limit=max(args.limit, 0))
        if args.name and not found:
            raise HTCMagicError(f"There is no cluster {args.name} of yours.", hint="List them all: %condor_jobs")
        return ClusterList(found)

    @no_var_expand
    @line_magic
    @magic_arguments()
    @act_arguments
    def condor_rm(self, line: str) -> None:
        """Remove jobs, with the arguments of condor_rm.

        Example::

            In [1]: %condor_rm 17 18.3
        """
        _act("Remove", parse(self.condor_rm, line), "condor_rm", self.shell.user_ns)

    @no_var_expand
    @line_magic
    @magic_arguments()
    @act_arguments
    def condor_hold(self, line: str) -> None:
        """Put jobs on hold, with the arguments of condor_hold.

        Example::

            In [1]: %condor_hold 17 -reason "wrong input"
        """
        _act("Hold", parse(self.condor_hold, line), "condor_hold", self.shell.user_ns)

    @no_var_expand
    @line_magic
    @magic_arguments()
    @act_arguments
    def condor_release(self, line: str) -> None:
        """Release held jobs, with the arguments of condor_release.

        Example::

            In [1]: %condor_release 17
        """
        _act("Release", parse(self.condor_release, line), "condor_release", self.shell.user_ns)

    @no_var_expand
    @line_magic
    @magic_arguments()
    @argument(
        "what",
        nargs="+",
        metavar="LOG|CLUSTER",
        help="an event log, as condor_wait takes; or a cluster: its id, batch name or variable",
    )
    @argument("--wait", type=float, metavar="SECONDS", help="give up after this long")
    def condor_wait(self, line: str) -> None:
        """Wait until jobs have ended: those of an event log (and ids in it), or clusters by id, batch name or variable.

        Example::

            In [1]: %condor_wait scan
        """
        from htcmagic.jobs import display
        from htcmagic.jobs.cluster import Cluster
        from htcmagic.magics.waiting import wait_for

        args = parse(self.condor_wait, line)
        bound = [self.shell.user_ns.get(word) for word in args.what]
        clusters = bound if all(isinstance(one, Cluster) for one in bound) else _named(args.what)
        if wait_for(clusters, args.wait):
            say("All jobs done.")
        else:
            say(f"Time expired: {'; '.join(display.line(c) for c in clusters if not c.done)}")


def _act(action: str, args: argparse.Namespace, command: str, namespace: dict[str, Any]) -> None:
    if bool(args.jobs) + bool(args.constraint) + args.all != 1:
        raise UsageError(
            f"Say which jobs: %{command} 17, %{command} 17.3, %{command} -constraint EXPR, %{command} -all"
        )
    from htcmagic.pool.resolve import connect

    client = connect(args.schedd, args.pool, report=say)
    reason = args.reason or f"via %{command}"  # HTCondor adds by whom
    done = DONE_TO[action]
    if args.constraint or args.all:
        constraint = args.constraint or "true"
        counts = client.act(action, constraint, reason)
        say(f"{counts['success']} jobs {done}." if counts["success"] else "No job was found for this.")
        return
    for given in args.jobs:
        word = _id_of(given, namespace)
        counts = client.act(action, _spec(word), reason)
        what = "Job" if "." in word else "All jobs in cluster" if word.isdigit() else "All jobs of user"
        if counts["success"]:
            say(f"{what} {word} {'have been ' if what != 'Job' else ''}{done}")
        else:
            why = "permission denied" if counts["permission_denied"] else _why_not(action, counts)
            say(f"{what} {word}: {why}")


def _id_of(word: str, namespace: dict[str, Any]) -> str:
    """Return the id of a cluster that was given by its variable or batch name; other words as they are."""
    from htcmagic.jobs import store
    from htcmagic.jobs.cluster import Cluster

    bound = namespace.get(word)
    if isinstance(bound, Cluster):
        return str(bound.id)
    if ID.match(word):
        return word
    named = store.clusters(word, limit=1)
    return str(named[0].id) if named else word


def _why_not(action: str, counts: dict[str, int]) -> str:
    if counts["already_done"]:
        return f"already {DONE_TO[action]}"
    if counts["bad_status"]:
        return "not held, so not released" if action == "Release" else "its state does not allow that"
    return "not found in the queue"


def _spec(word: str) -> str | list[str]:
    if ID.match(word):
        return [word] if "." in word else f"ClusterId == {word}"
    if USER.match(word):
        attribute = "User" if "@" in word else "Owner"
        return f'{attribute} == "{word}"'
    raise UsageError(f"{word} is no job id (17 or 17.3), cluster of yours or user's name. Put spaces between several.")


def _named(words: list[str]) -> list[Cluster]:
    from htcmagic.jobs import store

    first = Path(words[0]).expanduser()
    if first.is_file():
        wanted = {int(word.partition(".")[0]) for word in words[1:] if ID.match(word)}
        found = [c for c in store.clusters() if c.log is not None and c.log.resolve() == first.resolve()]
        found = [c for c in found if not wanted or c.id in wanted]
        if not found:
            raise HTCMagicError(
                f"{first} is not the event log of anything you sent from here.", hint="List them: %condor_jobs"
            )
        return found
    return [store.cluster(word.partition(".")[0] if ID.match(word) else word) for word in words]
