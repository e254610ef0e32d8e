"""``%condor_q``."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_magic, magics_class, no_var_expand
from IPython.core.magic_arguments import argument, magic_arguments

from htcmagic.magics.options import parse, pool_arguments
from htcmagic.magics.output import say
from htcmagic.magics.watch import FORM_HELP, FORMS, show

if TYPE_CHECKING:
    from htcmagic.pool.address import Pool
    from htcmagic.queue.listing import Listing
    from htcmagic.queue.live.model import Want
    from htcmagic.queue.live.view import LiveView
    from htcmagic.queue.options import Options
    from htcmagic.queue.table import QueueTable

SUFFIXED = ("autoformat", "aaf", "wide", "long", "jobads")
"""Options that take more behind a colon: ``-af:jh``, ``-wide:120``, ``-long:new``."""
SHORT = {
    "af": "autoformat",
    "c": "constraint",
    "f": "format",
    "g": "global",
    "held": "hold",
    "ho": "hold",
    "hol": "hold",
    "j": "jobads",
    "l": "long",
    "n": "name",
    "p": "pool",
    "r": "run",
    "u": "userlog",
    "w": "wide",
}
"""Abbreviations that condor_q takes though other options begin alike."""
VIEWS = ("run", "hold", "hold_codes", "idle", "io", "grid", "totals", "autocluster", "unmatchable")


@magics_class
class QueueMagics(Magics):
    """Looking at the queue."""

    @no_var_expand
    @line_magic
    @magic_arguments()
    @argument("words", nargs="*", metavar="JOB|OWNER", help="cluster, cluster.proc, or a user's name")
    @argument("--nobatch", action="store_true", help="one line for each job")
    @argument("--batch", action="store_true", help="one line for each batch of jobs, as without it")
    @argument("--run", action="store_true", help="running jobs, with their hosts")
    @argument("--hold", action="store_true", help="held jobs, with the reason")
    @argument("--hold-codes", action="store_true", help="the first job of each code for being held")
    @argument("--idle", action="store_true", help="idle jobs, with what they ask for")
    @argument("--io", action="store_true", help="jobs that transfer files")
    @argument("--grid", action="store_true", help="grid jobs")
    @argument("--dag", action="store_true", help="with -nobatch: jobs of a DAG under their DAGMan")
    @argument("--totals", action="store_true", help="totals only")
    @argument("--autocluster", action="store_true", help="the schedd's groups of like jobs")
    @argument("--unmatchable", action="store_true", help="jobs that match no machine")
    @argument("--cputime", action="store_true", help="CPU_TIME in place of RUN_TIME")
    @argument("--currentrun", action="store_true", help="times of the current run only")
    @argument("--constraint", metavar="EXPR", help="only jobs for which this ClassAd expression is true")
    @argument("--allusers", action="store_true", help="everybody's jobs, not only mine")
    @argument("--limit", type=int, default=-1, metavar="N", help="at most so many jobs")
    @argument("--global", action="store_true", help="all schedds of the pool")
    @argument("--autoformat", "--af", nargs="+", metavar="EXPR", help="values only; -af:jlhVrTY,tng as in condor_q")
    @argument("--aaf", nargs="+", metavar="EXPR", help="values behind the usual columns of a view")
    @argument("--format", nargs=2, action="append", metavar=("FMT", "EXPR"), help="a value by a printf format")
    @argument("--print-format", default="", metavar="FILE", help="columns as a file describes them")
    @argument("--long", action="store_true", help="whole ads; -long:json, -long:xml, -long:new")
    @argument("--json", action="store_true", help="whole ads as JSON")
    @argument("--xml", action="store_true", help="whole ads as XML")
    @argument("--attributes", metavar="A,B", help="of whole ads only these attributes")
    @argument("--wide", action="store_true", help="do not cut columns; -wide:N at most N characters a line")
    @argument("--userlog", metavar="FILE", help="the jobs of an event log, not of a schedd")
    @argument("--jobads", metavar="FILE", help="the jobs of a file of ClassAds, not of a schedd")
    @argument(
        "--watch", action="store_true", help="a live table: words, -constraint, -allusers and -nobatch as without"
    )
    @argument("--form", default="", choices=["", *FORMS], help=FORM_HELP)
    @argument("--suffixes", action="append", default=[], help=argparse.SUPPRESS)
    @pool_arguments("--name")
    def condor_q(self, line: str) -> QueueTable | Listing | LiveView | None:
        """Show the queue, as condor_q does; the result is a table: text, HTML, .to_dataframe().

        Example::

            In [1]: %condor_q

            In [2]: %condor_q -nobatch -constraint 'JobStatus == 5'

            In [3]: held = %condor_q -hold

            In [4]: %condor_q 17 -af:jh Cmd 'RemoteUserCpu / 3600'

            In [5]: %condor_q --watch
        """
        from htcmagic.pool.resolve import connect
        from htcmagic.queue.asking import ask

        args = parse(self.condor_q, prepared(line))
        options = read(args)
        if args.watch:
            return show(self.shell, wanted(options, connect(args.schedd, args.pool, report=say).pool), args.form)
        if args.form:
            raise UsageError("--form is a live view's: %condor_q --watch --form html")
        answer = ask(connect(args.schedd, args.pool, report=say), options)
        if answer.note:
            say(answer.note)
        return answer


def prepared(line: str) -> str:
    """Return a line with condor_q's colons and short abbreviations as the parser takes them."""
    try:
        words = shlex.split(line)
    except ValueError:
        return line  # the parser says what is wrong with it
    return shlex.join(one for word in words for one in _spelled(word))


def _spelled(word: str) -> list[str]:
    found = re.fullmatch(r"--?([A-Za-z]+)(?::([\w,]*))?", word)
    if found is None:
        return [word]
    name, suffix = SHORT.get(found[1].lower(), found[1].lower()), found[2]
    if suffix is None:
        return [f"--{name}" if found[1].lower() in SHORT else word]
    full = [option for option in SUFFIXED if option.startswith(name)]
    return ["--suffixes", f"{full[0]}:{suffix}", f"--{full[0]}"] if full else [word]


def read(args: argparse.Namespace) -> Options:
    """Return what was asked, from the parsed line."""
    from htcmagic.queue.options import Options

    suffixes: Mapping[str, str] = dict(text.split(":", 1) for text in args.suffixes)
    views = [name for name in VIEWS if getattr(args, name)]
    if len(views) > 1:
        raise UsageError(f"Say one of {' and '.join(f'-{name}' for name in views).replace('_', '-')}.")
    return Options(
        words=tuple(args.words),
        constraint=args.constraint,
        limit=args.limit,
        everywhere=getattr(args, "global"),
        nobatch=args.nobatch,
        allusers=args.allusers,
        view=views[0] if views else "",
        dag=args.dag,
        cputime=args.cputime,
        currentrun=args.currentrun,
        wide=suffixes.get("wide", "") if args.wide else None,
        form=_form(args, suffixes),
        attributes=tuple(name for name in re.split(r"[,\s]+", args.attributes or "") if name),
        autoformat=_columns("af", args.autoformat, suffixes.get("autoformat", "")),
        appended=_columns("aaf", args.aaf, suffixes.get("aaf", "")),
        formats=tuple((form, what) for form, what in args.format or ()),
        print_format=args.print_format,
        source=_source(args, suffixes),
    )


def wanted(options: Options, pool: Pool) -> Want:
    """Return what a live view watches.

    Raises
    ------
    UsageError
        An option does not go together with ``--watch``.
    """
    from dataclasses import replace

    from htcmagic.queue.live.model import Want

    if replace(options, words=(), constraint=None, allusers=False, nobatch=False) != type(options)():
        raise UsageError("With --watch go ids and owners, -constraint, -allusers, -nobatch, -name and -pool.")
    return Want(options.words, pool, options.constraint, options.allusers, options.nobatch)


def _columns(option: str, expressions: list[str] | None, suffix: str) -> tuple[str, ...]:
    if not expressions:
        return ()
    return (f"-{option}:{suffix}" if suffix else f"-{option}", *expressions)


def _form(args: argparse.Namespace, suffixes: Mapping[str, str]) -> str:
    if args.long:
        return f"long:{suffixes['long']}" if suffixes.get("long") else "long"
    return "json" if args.json else "xml" if args.xml else ""


def _source(args: argparse.Namespace, suffixes: Mapping[str, str]) -> tuple[str, ...]:
    if args.jobads:
        return (f"jobads:{suffixes['jobads']}" if suffixes.get("jobads") else "jobads", args.jobads)
    return ("userlog", args.userlog) if args.userlog else ()
