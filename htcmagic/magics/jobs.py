"""``%condor_jobs`` and ``%condor_wait``: what I sent, and waiting for it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IPython.core.magic import Magics, line_magic, magics_class, no_var_expand
from IPython.core.magic_arguments import argument, magic_arguments

from htcmagic.errors import HTCMagicError
from htcmagic.magics.options import parse
from htcmagic.magics.output import say

if TYPE_CHECKING:
    from htcmagic.jobs.cluster import Cluster, JobFuture

ID = re.compile(r"\d+(\.\d+)?\Z")
JOB = re.compile(r"\d+\.\d+\Z")


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


@magics_class
class JobsMagics(Magics):
    """What I sent."""

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
    @argument(
        "what",
        nargs="+",
        metavar="LOG|CLUSTER",
        help="an event log, as condor_wait takes; or a cluster: its id, batch name or variable; or a job: 17.3",
    )
    @argument("--wait", type=float, metavar="SECONDS", help="give up after this long")
    def condor_wait(self, line: str) -> None:
        """Wait until jobs have ended: those of an event log (and ids in it), or clusters by id, batch name or variable.

        Example::

            In [1]: %condor_wait scan
        """
        from htcmagic.jobs import display
        from htcmagic.jobs.naming import clusters_behind
        from htcmagic.magics.waiting import wait_for, wait_for_jobs

        args = parse(self.condor_wait, line)
        if all(JOB.match(word) for word in args.what):
            jobs = _jobs(args.what)
            if wait_for_jobs(jobs, args.wait):
                say("All jobs done.")
            else:
                say(f"Time expired: {', '.join(f'{job.id} is {job.state.value}' for job in jobs if not job.done())}")
            return
        bound = [clusters_behind(self.shell.user_ns.get(word)) for word in args.what]
        clusters = [one for some in bound for one in some] if all(bound) else _named(args.what)
        if wait_for(clusters, args.wait):
            say("All jobs done.")
        else:
            say(f"Time expired: {'; '.join(display.line(c) for c in clusters if not c.done)}")


def _jobs(words: list[str]) -> list[JobFuture]:
    from htcmagic.jobs import store

    return [store.cluster(cluster)[int(proc)] for cluster, _, proc in (word.partition(".") for word in words)]


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
