"""``%%condor_python`` and ``%condor_defaults``."""

from __future__ import annotations

import argparse
import keyword
import shlex
import sys
import time
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError
from IPython.core.magic import Magics, cell_magic, line_magic, magics_class, no_var_expand
from IPython.core.magic_arguments import argument, magic_arguments

from htcmagic.magics.options import parse, pool_arguments
from htcmagic.magics.output import say
from htcmagic.magics.submit import named_items, setting

if TYPE_CHECKING:
    from htcmagic.functions.cellrun import CellRun
    from htcmagic.functions.cells import Order, Wish

LOOK_S = 0.1
MOST_FOLLOWED = 2_000_000
"""Characters of one job's output that are shown while it is followed."""


@magics_class
class PythonMagics(Magics):
    """Python cells as jobs."""

    @no_var_expand
    @cell_magic
    @magic_arguments()
    @argument(
        "settings", nargs="*", metavar="KEY=VALUE", help="submit commands, as request_memory=2GB or requirements=…"
    )
    @argument("--over", metavar="NAME", help="items, a job each: any Python iterable, or a data frame")
    @argument("-o", "--out", default="", metavar="NAME", help="bind what it returns to this Python name")
    @argument(
        "--inputs",
        default="",
        metavar="A,B",
        help="files that go along (the job finds them in its folder); or names that the cell uses without showing it",
    )
    @argument(
        "--outputs", default="", metavar="R,S", help="variables that come back (default: all that the cell assigns)"
    )
    @argument("--memory", metavar="SIZE", help="request_memory: 2GB; a plain number is MB")
    @argument("--cpus", metavar="N", help="request_cpus")
    @argument("--disk", metavar="SIZE", help="request_disk: 1GB; a plain number is kB")
    @argument("--gpus", metavar="N", help="request_gpus")
    @argument("--name", "--batch-name", default="", help="batch name, as condor_q shows it (default: that of -o)")
    @argument("--wait", action="store_true", help="return only when every job has ended; show what a single job gave")
    @argument("--follow", action="store_true", help="wait, and show what the jobs print as they print it")
    @argument("--python", default="", metavar="PATH", help="the interpreter to use (default: the notebook's own)")
    @argument("--container", default="", metavar="IMAGE", help="run in this image: docker://…, a .sif file, a folder")
    @argument("--stack", default="", metavar="NAME", help="run in this software stack: NAME or NAME:RELEASE")
    @argument("--kernel", metavar="NAME", help="run in the environment of this kernel of ours, or of none")
    @argument("--ship-env", action="store_true", help="take this environment's packages along")
    @argument("--dir", default="", metavar="FOLDER", help="where relative paths start (default: the notebook's folder)")
    @argument("--dry-run", action="store_true", help="show what would be sent; send nothing")
    @argument("--hold", action="store_true", help="submit the jobs on hold")
    @pool_arguments()
    def condor_python(self, line: str, cell: str) -> CellRun | None:
        """Run the cell in jobs: once, or once for each item of --over.

        Each item's keys or columns are variables of the cell (item0, item1 … for tuples, item for anything else and
        for the whole). What the cell uses of the notebook goes along: modules by name, functions and values as
        copies. The value of the last line comes back, and the variables that the cell assigns. What is printed and
        displayed is kept: .show(3). An exception shows where it was raised in the job.

        Example::

            In [1]: points = [{"mass": 500, "width": 1.5}, {"mass": 750, "width": 2.0}]

            In [2]: def model(mass, width):
               ...:     return mass / width

            In [3]: %%condor_python --over points -o fits --memory 200MB
               ...: import math
               ...: peak = math.log(model(mass, width))

            In [4]: fits.results(), fits[1]["peak"], fits["peak"]
        """
        from htcmagic.functions import cells

        args = parse(self.condor_python, line)
        if args.out and (not args.out.isidentifier() or keyword.iskeyword(args.out)):
            raise UsageError(f"-o {args.out}: not a Python name.")
        order = cells.order(cell, _wish(args, self.shell.user_ns), self.shell.user_ns, self.shell.user_ns_hidden)
        run = _send(args, order)
        if run is None:
            return None
        if args.out:
            self.shell.user_ns[args.out] = run
        if not (args.wait or args.follow):
            return run
        _wait(run, follow=args.follow)
        run.is_shown = not args.out
        return None if args.out else run

    @no_var_expand
    @line_magic
    @magic_arguments()
    @argument("settings", nargs="*", metavar="KEY=VALUE", help="submit commands; with an empty value, none")
    @argument("--clear", action="store_true", help="forget those set before")
    def condor_defaults(self, line: str) -> None:
        """Say what Python jobs of this notebook ask for where nothing else is said; or change it.

        Example::

            In [1]: %condor_defaults request_memory=2GB request_cpus=2

            In [2]: %condor_defaults
        """
        from htcmagic.functions.jobs import DEFAULTS
        from htcmagic.functions.place import defaults, set_defaults

        args = parse(self.condor_defaults, line)
        if args.settings or args.clear:
            set_defaults(dict(map(setting, args.settings)), anew=args.clear)
        say(" ".join(shlex.quote(f"{name}={value}") for name, value in {**DEFAULTS, **defaults()}.items()))


def _wish(args: argparse.Namespace, namespace: dict[str, Any]) -> Wish:
    from htcmagic.functions.cells import Wish
    from htcmagic.functions.place import defaults, resources

    asked = {name: getattr(args, name) for name in ("memory", "cpus", "disk", "gpus")}
    settings = {**defaults(), **resources(**dict(map(setting, args.settings))), **resources(**asked)}
    if args.follow:
        settings = {"stream_output": "true", **settings}
    where = {name: getattr(args, name) for name in ("python", "container", "stack", "ship_env", "kernel")}
    return Wish(
        over=named_items(args.over, namespace),
        over_name=args.over or "",
        inputs=_words(args.inputs),
        outputs=_words(args.outputs),
        resources=settings,
        where=where,
        name=args.name or args.out,
        directory=args.dir,
        hold=args.hold,
    )


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _send(args: argparse.Namespace, order: Order) -> CellRun | None:
    from htcmagic.functions import cellsending
    from htcmagic.pool.resolve import connect

    for note in order.notes:
        say(note)
    client = connect(args.schedd, args.pool, report=say)
    if args.dry_run:
        cellsending.dry_run(order, client, report=say)
        return None
    return cellsending.send(order, client, report=say)


def _wait(run: CellRun, *, follow: bool) -> None:
    """Wait in the cell; then show what a single job gave, as if the cell had run here."""
    if follow:
        _follow(run)
    else:
        from htcmagic.functions.waiting import waiting
        from htcmagic.magics.waiting import wait_for

        with waiting(f"%condor_rm {run.id}", run.cancel):
            wait_for([run.cluster])
        run.wait()
    if len(run) > 1:
        if why := run.failure():
            say(f"Failed: {why}")
        return
    error = run[0].exception()
    if error is None or hasattr(error, "remote"):
        run[0].show(printed=not follow)
    if error is not None:
        raise error


def _follow(run: CellRun) -> None:
    from htcmagic.functions.waiting import waiting

    places = dict.fromkeys(range(len(run)), 0)
    if not sys.stdout.isatty():
        run._ipython_display_()
    with waiting(f"%condor_rm {run.id}", run.cancel):
        while places:
            for number in [number for number in places if run[number].done() or run[number].running()]:
                ended = run[number].done()
                places[number] = _show_more(run, number, places[number])
                if ended and places[number] == run[number].beyond(places[number])[1]:
                    del places[number]
            time.sleep(LOOK_S if places else 0)


def _show_more(run: CellRun, number: int, place: int) -> int:
    text, after = run[number].beyond(place)
    if text and place < MOST_FOLLOWED:
        _pass_on(text[: MOST_FOLLOWED - place], f"[{number}] " if len(run) > 1 else "")
        if after > MOST_FOLLOWED:
            say(f"… item {number} prints much; its output is in {run.path(number, 'output')}")
    return after


def _pass_on(text: str, before: str) -> None:
    if before:
        text = "".join(f"{before}{line}" for line in text.splitlines(keepends=True))
        text += "" if text.endswith("\n") else "\n"
    sys.stdout.write(text)
    sys.stdout.flush()
