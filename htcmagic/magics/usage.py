"""``%condor_usage`` and ``%condor_plot``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_magic, magics_class, no_var_expand
from IPython.core.magic_arguments import argument, magic_arguments

from htcmagic.magics.options import parse, pool_arguments
from htcmagic.magics.output import say

if TYPE_CHECKING:
    import argparse

    from htcmagic.queue.usage import Usage


def past_arguments(function: Any) -> Any:
    """Add the choice of jobs, the same for both."""
    for decorate in reversed(
        [
            argument(
                "jobs",
                nargs="*",
                metavar="JOB",
                help="cluster.proc, a cluster (id, variable, batch name) or a job of it: scan[3]; all of mine if none",
            ),
            argument(
                "--constraint", default="", metavar="EXPR", help="all jobs for which this ClassAd expression is true"
            ),
            argument(
                "--limit", type=int, default=10_000, metavar="N", help="most jobs of the history (default: 10000)"
            ),
            pool_arguments("--name"),
        ]
    ):
        function = decorate(function)
    return function


@magics_class
class UsageMagics(Magics):
    """What jobs used, and when."""

    @no_var_expand
    @line_magic
    @magic_arguments()
    @past_arguments
    def condor_usage(self, line: str) -> Usage:
        """Compare what jobs asked for with what they used; gives the request lines to use next time.

        Example::

            In [1]: %condor_wait scan

            In [2]: used = %condor_usage scan

            In [3]: used.submit_lines
        """
        from htcmagic.queue.usage import usage

        return usage(**self._chosen(parse(self.condor_usage, line)))

    @no_var_expand
    @line_magic
    @magic_arguments()
    @past_arguments
    @argument("--jobs", dest="kinds", action="append_const", const="jobs", help="a line for each job")
    @argument(
        "--over-time",
        dest="kinds",
        action="append_const",
        const="over-time",
        help="how many jobs in each state, over time",
    )
    def condor_plot(self, line: str) -> Any:
        """Draw when jobs were idle, running, held: matplotlib's axes, or an SVG where there is no matplotlib.

        Up to some hundred jobs are drawn one by one, more as numbers over time; --jobs, --over-time or both decide.

        Example::

            In [1]: %condor_plot scan

            In [2]: %condor_plot scan --over-time
        """
        from htcmagic.queue.plot import plot

        args = parse(self.condor_plot, line)
        kind = "both" if len(set(args.kinds or [])) == 2 else args.kinds[0] if args.kinds else ""
        return plot(kind=kind, **self._chosen(args))

    def _chosen(self, args: argparse.Namespace) -> dict[str, Any]:
        from htcmagic.magics.why import bound

        if args.jobs and args.constraint:
            raise UsageError("Say which jobs, or give --constraint, not both.")
        if args.limit < 1:
            raise UsageError("--limit: at least 1")
        return {
            "what": bound(args.jobs, self.shell.user_ns) or None,
            "constraint": args.constraint,
            "limit": args.limit,
            "schedd": args.schedd,
            "pool": args.pool,
            "report": say,
        }
