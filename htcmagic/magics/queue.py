"""``%condor_q``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from IPython.core.magic import Magics, line_magic, magics_class, no_var_expand
from IPython.core.magic_arguments import argument, magic_arguments

from htcmagic.magics.options import parse, pool_arguments
from htcmagic.magics.output import say

if TYPE_CHECKING:
    from htcmagic.queue.table import QueueTable


@magics_class
class QueueMagics(Magics):
    """Looking at the queue."""

    @no_var_expand
    @line_magic
    @magic_arguments()
    @argument("words", nargs="*", metavar="JOB|OWNER", help="cluster, cluster.proc, or a user's name")
    @argument("--nobatch", action="store_true", help="one line for each job")
    @argument("--constraint", metavar="EXPR", help="only jobs for which this ClassAd expression is true")
    @argument("--allusers", action="store_true", help="everybody's jobs, not only mine")
    @pool_arguments("--name")
    def condor_q(self, line: str) -> QueueTable:
        """Show the queue, as condor_q does; the result is a table: text, HTML, .to_dataframe().

        Example::

            In [1]: %condor_q

            In [2]: %condor_q -nobatch -constraint 'JobStatus == 5'

            In [3]: queue = %condor_q -allusers
        """
        from htcmagic.pool.resolve import connect
        from htcmagic.queue.request import request, run

        args = parse(self.condor_q, line)
        asked = request(args.words, constraint=args.constraint, nobatch=args.nobatch, allusers=args.allusers)
        return run(connect(args.schedd, args.pool, report=say), asked)
