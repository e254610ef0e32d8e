"""``%condor_why``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_magic, magics_class, no_var_expand
from IPython.core.magic_arguments import argument, magic_arguments

from htcmagic.magics.options import parse, pool_arguments
from htcmagic.magics.output import say

if TYPE_CHECKING:
    from htcmagic.queue.why import Why


@magics_class
class WhyMagics(Magics):
    """Why jobs do not run."""

    @no_var_expand
    @line_magic
    @magic_arguments()
    @argument(
        "jobs",
        nargs="*",
        metavar="JOB",
        help="cluster.proc, a cluster (id, variable, batch name) or a job of it: scan[3]",
    )
    @argument("--constraint", default="", metavar="EXPR", help="all jobs for which this ClassAd expression is true")
    @argument("--allusers", action="store_true", help="everybody's jobs that do not run, not only mine")
    @pool_arguments("--name")
    def condor_why(self, line: str) -> Why:
        """Say why jobs are idle or held and what to do about it; of running and ended ones, how they do or did.

        Without a job: mine that do not run, those first that need somebody's doing.

        Example::

            In [1]: %condor_why

            In [2]: %condor_why scan

            In [3]: reasons = %condor_why -allusers
        """
        from htcmagic.pool.resolve import connect
        from htcmagic.queue.why import explain, together

        args = parse(self.condor_why, line)
        if args.jobs and (args.constraint or args.allusers):
            raise UsageError("Say which jobs, or give --constraint or --allusers, not both.")
        if args.jobs:
            return together(bound(args.jobs, self.shell.user_ns), schedd=args.schedd, pool=args.pool, report=say)
        named = bool(args.schedd or args.pool)
        whom = connect(args.schedd, args.pool, report=say)
        return explain(whom, constraint=args.constraint, allusers=args.allusers, named=named)


def bound(words: list[str], namespace: dict[str, Any]) -> list[Any]:
    """Return the clusters or jobs that words name; other words, and ids, as they are."""
    from htcmagic.jobs import naming

    return [one for word in words for one in ([] if word[:1].isdigit() else naming.named(word, namespace)) or [word]]
