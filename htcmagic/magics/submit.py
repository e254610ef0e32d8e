"""``%%condor`` and ``%condor_submit``."""

from __future__ import annotations

import argparse
import keyword
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError
from IPython.core.magic import Magics, cell_magic, line_magic, magics_class, no_var_expand
from IPython.core.magic_arguments import argument, magic_arguments

from htcmagic.errors import CellError, Interrupted
from htcmagic.magics.options import parse, pool_arguments, suggestion
from htcmagic.magics.output import say

if TYPE_CHECKING:
    from htcmagic.jobs import submission
    from htcmagic.jobs.cluster import Cluster
    from htcmagic.jobs.rundir import RunDir
    from htcmagic.pool.client import Client

    Describe = Callable[[submission.Options, Client, RunDir], tuple[str, submission.Options]]

UNIT = re.compile(r"[kmgt]i?b?\Z", re.IGNORECASE)
SETTING = re.compile(r"([+\w.]+)\s*=\s*(.*)\Z", re.DOTALL)


def submit_arguments(function: Any) -> Any:
    """Add the options of a submission."""
    for decorate in reversed(_OPTIONS):
        function = decorate(function)
    return function


_OPTIONS: list[Callable[[Any], Any]] = [
    argument(
        "--over", metavar="NAME", help="queue items: any Python iterable of scalars, tuples, dicts, or a data frame"
    ),
    argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a submit command or macro that wins over the cell's",
    ),
    argument("-n", "--count", type=int, metavar="N", help="jobs per item"),
    argument("--name", "--batch-name", default="", help="batch name, as condor_q shows it"),
    argument("-o", "--out", default="", metavar="NAME", help="bind the cluster to this Python name"),
    argument("--max-idle", type=int, metavar="N", help="late materialization: at most N idle jobs in the queue"),
    argument("--max-materialize", type=int, metavar="N", help="late materialization: at most N jobs in the queue"),
    argument("--dir", default="", metavar="FOLDER", help="where relative paths start (default: the notebook's folder)"),
    argument(
        "--dry-run", action="store_true", help="show what would be sent, expanded for the first item; send nothing"
    ),
    argument("--wait", action="store_true", help="return only when every job has ended"),
    argument("--hold", action="store_true", help="submit the jobs on hold"),
    argument(
        "--spool", action="store_true", help="copy input files to the schedd, for one without a shared file system"
    ),
    argument("--no-check", action="store_true", help="send even if the executable or an input file is not here"),
    pool_arguments(),
]


@magics_class
class SubmitMagics(Magics):
    """Submission of descriptions."""

    @no_var_expand
    @cell_magic
    @magic_arguments()
    @submit_arguments
    def condor(self, line: str, cell: str) -> Cluster | None:
        """Submit the cell: a submit description, exactly HTCondor's language.

        Python values come in as macros: $(x) is the column x of --over, or else the notebook's variable x (str,
        int, float or Path). Without a queue statement, one job is queued. Output goes where the description
        says, else to files that .stdout() and .stderr() read. Returns a Cluster, which shows itself as a live
        progress bar.

        Example::

            In [1]: points = [{"x": 1, "y": 2}, {"x": 3, "y": 4}]

            In [2]: %%condor --over points --name scan -o scan
               ...: executable = /bin/echo
               ...: arguments  = $(x) $(y)
               ...: queue

            In [3]: scan.wait(); scan[1].stdout()
        """
        args = parse(self.condor, line)
        return submit(self.shell, args, lambda options, _client, _run_dir: (cell, options))

    @no_var_expand
    @line_magic
    @magic_arguments()
    @argument("file", metavar="FILE", help="the submit description")
    @argument("settings", nargs="*", metavar="KEY=VALUE", help="submit commands or macros that win over the file's")
    @submit_arguments
    def condor_submit(self, line: str) -> Cluster | None:
        """Submit a file, as condor_submit does, with the options of %%condor.

        Example::

            In [1]: %condor_submit fit.sub request_memory=2GB --name fits -o fits
        """
        args = parse(self.condor_submit, line)
        path = Path(args.file).expanduser()
        try:
            text = path.read_text()
        except FileNotFoundError:
            raise UsageError(f"There is no file {path} in {Path.cwd()}.") from None
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{path} cannot be read: {error}") from None
        args.set = [*args.set, *args.settings]
        return submit(self.shell, args, lambda options, _client, _run_dir: (text, options))


def submit(shell: Any, args: argparse.Namespace, describe: Describe) -> Cluster | None:
    """Submit what `describe` gives, as the options of a line say.

    Parameters
    ----------
    shell : InteractiveShell
        Whose variables are the items, and take the cluster.
    args : argparse.Namespace
        The line's options, those of :func:`submit_arguments`.
    describe : callable
        Given options, pool and the run's new folder, returns a description and the options to use with it.

    Returns
    -------
    Cluster or None
        None where nothing was sent, or where it was waited for and has a name.
    """
    from htcmagic import places
    from htcmagic.jobs import sending, submission
    from htcmagic.jobs.cluster import attach
    from htcmagic.jobs.rundir import RunDir
    from htcmagic.magics.waiting import wait_for
    from htcmagic.pool.resolve import connect

    namespace = shell.user_ns
    options = _options(args, namespace)
    client = connect(args.schedd, args.pool, report=say)
    run_dir = RunDir.create(places.log_dir())
    try:
        text, options = describe(options, client, run_dir)
        prepared = submission.prepare(text, options, namespace, client, run_dir)
    except KeyboardInterrupt:
        run_dir.discard()
        raise Interrupted("Nothing was sent.") from None
    except BaseException:
        run_dir.discard()
        raise
    for name in prepared.borrowed:
        say(f"$({name}) = {prepared.borrowed[name]!s:.60} (from the notebook)")
    for note in prepared.notes:
        say(note)
    if args.dry_run:
        run_dir.discard()
        say(submission.shown(prepared))
        return None
    sent = sending.send(prepared, client, run_dir, spool=args.spool)
    for warning in sent.warnings:
        say(warning)
    cluster = attach(run_dir, sent.record)
    if args.out:
        namespace[args.out] = cluster
    if args.wait:
        wait_for([cluster])
        return None if args.out else cluster
    return cluster


def named_items(name: str | None, namespace: dict[str, Any]) -> Any:
    """Return the items that ``--over`` names; None without it."""
    if not name:
        return None
    if name not in namespace:
        if not name.isidentifier():
            raise UsageError(f"--over takes the name of a variable: items = {name}, then --over items")
        near = suggestion(name, dict.fromkeys(known for known in namespace if not known.startswith("_")))
        raise UsageError(f"--over {name}: there is no variable {name} in the notebook.{near}")
    if namespace[name] is None:
        raise CellError(f"--over {name}: it is None.", hint="Give a list of items.")
    return namespace[name]


def _options(args: argparse.Namespace, namespace: dict[str, Any]) -> submission.Options:
    from htcmagic.jobs import submission
    from htcmagic.jobs.items import text_of

    settings = dict(setting(text) for text in args.set)
    if args.out and (not args.out.isidentifier() or keyword.iskeyword(args.out)):
        raise UsageError(f"-o {args.out}: not a Python name.")
    over = named_items(args.over, namespace)
    for option in ("count", "max_idle", "max_materialize"):
        number = getattr(args, option)
        if number is not None and number < 1:
            raise UsageError(f"--{option.replace('_', '-')} {number}: at least 1.")
    text_of(args.name, "--name")
    return submission.Options(
        over=over,
        over_name=args.over or "",
        settings=settings,
        count=args.count,
        name=args.name,
        max_idle=args.max_idle,
        max_materialize=args.max_materialize,
        directory=args.dir,
        hold=args.hold,
        spool=args.spool,
        checked=not args.no_check,
    )


def setting(text: str) -> tuple[str, str]:
    """Return name and value of ``KEY=VALUE``."""
    found = SETTING.match(text)
    if found:
        return found.group(1), found.group(2)
    if UNIT.match(text):
        raise UsageError(f"{text}: write a size in one word, as 2{text}.")
    raise UsageError(f"{text}: a setting is written KEY=VALUE, quoted if it has blanks: 'requirements=a && b'")
