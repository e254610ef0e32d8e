"""``%%condor_dag``, ``%condor_submit_dag`` and ``%condor_dag``: DAGMan in its own language."""

from __future__ import annotations

import argparse
import keyword
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_cell_magic, line_magic, magics_class, no_var_expand
from IPython.core.magic_arguments import argument, magic_arguments

from htcmagic.errors import HTCMagicError, Interrupted
from htcmagic.magics.options import parse, pool_arguments
from htcmagic.magics.output import say

if TYPE_CHECKING:
    from htcmagic.engines.dag.handle import Dag
    from htcmagic.engines.dag.preparing import Options

LIMITS = ("MaxJobs", "MaxIdle", "MaxPre", "MaxPost")
"""condor_submit_dag's throttles."""


def dag_arguments(function: Any) -> Any:
    """Add the options of a DAG."""
    for decorate in reversed(_OPTIONS):
        function = decorate(function)
    return function


_OPTIONS: list[Callable[[Any], Any]] = [
    argument("--name", "--batch-name", default="", help="batch name of DAGMan and of all nodes' jobs"),
    argument("-o", "--out", default="", metavar="NAME", help="bind the DAG to this Python name"),
    argument("--maxjobs", "--MaxJobs", type=int, metavar="N", help="at most N nodes with jobs in the queue"),
    argument("--maxidle", "--MaxIdle", type=int, metavar="N", help="send no more while N jobs are idle"),
    argument("--maxpre", "--MaxPre", type=int, metavar="N", help="at most N PRE scripts at once"),
    argument("--maxpost", "--MaxPost", type=int, metavar="N", help="at most N POST scripts at once"),
    argument("--dir", default="", metavar="FOLDER", help="where relative paths start (default: the notebook's folder)"),
    argument(
        "--dry-run", "--no_submit", action="store_true", help="check it and show what would be sent; send nothing"
    ),
    argument("--wait", action="store_true", help="return only when it has ended"),
    argument("--no-check", action="store_true", help="send even if executables, input files or macros are not here"),
    pool_arguments(),
]


class DagList(Sequence["Dag"]):
    """DAGs that this user sent, newest first."""

    def __init__(self, found: list[Dag]) -> None:
        self._found = found

    def __len__(self) -> int:
        return len(self._found)

    def __getitem__(self, index: Any) -> Any:
        return self._found[index]

    def __repr__(self) -> str:
        return "\n".join(repr(dag) for dag in self) or "You have sent no DAG yet: see %%condor_dag?"


@magics_class
class DagMagics(Magics):
    """Workflows."""

    @no_var_expand
    @line_cell_magic
    @magic_arguments()
    @argument("what", nargs="?", default="", metavar="NAME", help="%%condor_dag NAME: a DAG by batch name or id")
    @dag_arguments
    def condor_dag(self, line: str, cell: str | None = None) -> Any:
        """Run the cell: a DAG, exactly HTCondor's DAG language, nodes' submit descriptions with it.

        %condor_dag, with one % and no cell, lists the DAGs I sent; %condor_dag NAME finds one again, also after a
        restart of the kernel. In submit descriptions, Python values come in as macros: $(x) is what VARS says, or else
        the notebook's variable x (str, int, float or Path). What nodes print goes where their description says, else to
        files that .nodes[NAME].stdout() reads. Returns a Dag, which draws itself, live.

        Example::

            In [1]: %%condor_dag --name demo -o demo
               ...: SUBMIT-DESCRIPTION hello {
               ...:     executable = /bin/echo
               ...:     arguments  = hello from $(JOB)
               ...: }
               ...: JOB first hello
               ...: JOB second hello
               ...: PARENT first CHILD second

            In [2]: demo.wait(); demo.nodes["second"].stdout()
        """
        args = parse(self.condor_dag, line)
        if cell is None:
            return _found(args.what)
        if args.what:
            raise UsageError(f"%%condor_dag {args.what}: the DAG is the cell. A name: --name {args.what}")
        return self._run(args, cell, None)

    @no_var_expand
    @line_magic
    @magic_arguments()
    @argument("file", metavar="FILE", help="the DAG")
    @dag_arguments
    def condor_submit_dag(self, line: str) -> Any:
        """Run a file, as condor_submit_dag does, with the options of %%condor_dag.

        If rescue DAGs lie beside it, it is resumed from the newest.

        Example::

            In [1]: %condor_submit_dag analysis.dag -maxjobs 50 -o analysis
        """
        args = parse(self.condor_submit_dag, line)
        path = Path(args.file).expanduser().absolute()
        try:
            text = path.read_text(errors="replace")
        except FileNotFoundError:
            raise UsageError(f"There is no file {args.file} in {Path.cwd()}.") from None
        except OSError as error:
            raise UsageError(f"{args.file} cannot be read: {error.strerror}") from None
        args.name = args.name or path.name
        return self._run(args, text, path)

    def _run(self, args: argparse.Namespace, text: str, file: Path | None) -> Dag | None:
        from htcmagic import places
        from htcmagic.engines.dag import preparing, sending
        from htcmagic.jobs.rundir import RunDir
        from htcmagic.pool.resolve import connect

        options = _options(args, completed=file is None)
        client = connect(args.schedd, args.pool, report=say)
        run_dir = RunDir.create(places.log_dir())
        try:
            outputs = None if file is not None else run_dir.output_dir
            prepared = preparing.prepare(text, options, self.shell.user_ns, client, outputs)
            if args.dry_run:
                preparing.second_opinion(file or run_dir.path / "cell.dag", prepared, client)
        except KeyboardInterrupt:
            run_dir.discard()
            raise Interrupted("Nothing was sent.") from None
        except BaseException:
            run_dir.discard()
            raise
        for name, value in prepared.borrowed.items():
            say(f"$({name}) = {value!s:.60} (from the notebook)")
        for note in prepared.notes:
            say(note)
        if args.dry_run:
            run_dir.discard()
            say(preparing.shown(prepared))
            return None
        return self._bind(args, sending.send(prepared, options, client, run_dir, file=file))

    def _bind(self, args: argparse.Namespace, dag: Dag) -> Dag | None:
        if dag.tracker.before:
            done = f"{len(dag.tracker.before)} of {len(dag.nodes)} nodes are done"
            say(f"Resumed from {Path(dag.record.rescue).name}: {done}.")
        if args.out:
            self.shell.user_ns[args.out] = dag
        if not args.wait:
            return dag
        dag._ipython_display_()
        dag.wait()
        return None


def _found(name: str) -> Any:
    from htcmagic.engines.dag.handle import dags

    if not name:
        return DagList(dags(limit=20))
    found = dags(name, limit=1)
    if not found:
        raise HTCMagicError(f"There is no DAG {name} of yours.", hint="List them: %condor_dag")
    return found[0]


def _options(args: argparse.Namespace, *, completed: bool) -> Options:
    from htcmagic.engines.dag.preparing import Options
    from htcmagic.jobs.items import text_of

    if args.out and (not args.out.isidentifier() or keyword.iskeyword(args.out)):
        raise UsageError(f"-o {args.out}: not a Python name.")
    limits = {}
    for option in LIMITS:
        number = getattr(args, option.lower())
        if number is not None and number < 1:
            raise UsageError(f"-{option.lower()} {number}: at least 1; leave it out for no limit.")
        if number is not None:
            limits[option] = number
    text_of(args.name, "--name")
    return Options(args.name or args.out or "dag", limits, args.dir, checked=not args.no_check, completed=completed)
