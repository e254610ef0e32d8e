"""``%condor_engines``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from IPython.core.magic import Magics, line_magic, magics_class, no_var_expand
from IPython.core.magic_arguments import argument, magic_arguments

from htcmagic.magics.options import parse, pool_arguments
from htcmagic.magics.output import say

if TYPE_CHECKING:
    from htcmagic.queue.listing import Listing


@magics_class
class EngineMagics(Magics):
    """What runs under Parsl, Dask, ipyparallel and DAGMan."""

    @no_var_expand
    @line_magic
    @magic_arguments()
    @argument("engine", nargs="?", default="", help="only this engine")
    @argument("--stop", default="", metavar="ENGINE|all", help="stop an engine, or all: its jobs and its processes")
    @pool_arguments("--name")
    def condor_engines(self, line: str) -> Listing | None:
        """Show what you run under any engine, also in other notebooks: jobs by state and why, cores, age, slot hours.

        Example::

            In [1]: %condor_engines

            In [2]: %condor_engines --stop all
        """
        from htcmagic.engines import overview

        args = parse(self.condor_engines, line)
        if args.stop:
            for done in overview.stop(args.stop, args.schedd, args.pool):
                say(done)
            return None
        return overview.status(args.engine, args.schedd, args.pool)
