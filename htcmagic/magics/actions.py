"""Commands that change jobs: ``%condor_rm %condor_hold %condor_release`` and those like them."""

from __future__ import annotations

import argparse
import re
import shlex
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_magic, magics_class, no_var_expand
from IPython.core.magic_arguments import argument, magic_arguments

from htcmagic.magics.options import parse, pool_arguments
from htcmagic.magics.output import say

if TYPE_CHECKING:
    from htcmagic.jobs.acting import Action, Plan
    from htcmagic.jobs.choice import Target

ATTRIBUTE = re.compile(r"[A-Za-z_]\w*\Z")
RELATIVE = re.compile(r"[+-]\d+\Z")
NUMBER = re.compile(r"[+-]?\d{1,9}\Z")
EXAMPLES = "{0} 17, {0} 17.3, {0} -constraint EXPR{1}"


def which_arguments(*, edits: bool = False) -> Any:
    """Return a decorator that adds how jobs are named, and the second word for many of them."""
    words = "cluster.proc, a cluster (id, variable, batch name), a job of it (scan[3]) or a user"
    several = f"{words}; then attributes and their values" if edits else words

    def decorate(function: Any) -> Any:
        for add in reversed(
            [
                argument("jobs", nargs="*", metavar="JOB", help=several),
                argument(
                    "--constraint",
                    default="",
                    metavar="EXPR",
                    help="all jobs for which this ClassAd expression is true",
                ),
                argument("--all", action="store_true", help="all jobs that you may act on"),
                argument("--yes", action="store_true", help="also more than 100 jobs, also other people's"),
                pool_arguments("--name"),
            ]
        ):
            function = add(function)
        return function

    return decorate


def reason_argument(function: Any) -> Any:
    """Add ``-reason``."""
    return argument("--reason", default="", help="text kept in the job's ad")(function)


@magics_class
class ActionMagics(Magics):
    """What to do with jobs."""

    @no_var_expand
    @line_magic
    @magic_arguments()
    @which_arguments()
    @reason_argument
    def condor_rm(self, line: str) -> None:
        """Remove jobs, with the arguments of condor_rm.

        Example::

            In [1]: %condor_rm 17 18.3
        """
        from htcmagic.jobs import acting

        self._act(acting.REMOVE, parse(self.condor_rm, line), "condor_rm", line)

    @no_var_expand
    @line_magic
    @magic_arguments()
    @which_arguments()
    @reason_argument
    def condor_hold(self, line: str) -> None:
        """Put jobs on hold, with the arguments of condor_hold.

        Example::

            In [1]: %condor_hold 17 -reason "wrong input"
        """
        from htcmagic.jobs import acting

        self._act(acting.HOLD, parse(self.condor_hold, line), "condor_hold", line)

    @no_var_expand
    @line_magic
    @magic_arguments()
    @which_arguments()
    @reason_argument
    def condor_release(self, line: str) -> None:
        """Release held jobs, with the arguments of condor_release.

        Example::

            In [1]: %condor_release 17
        """
        from htcmagic.jobs import acting

        self._act(acting.RELEASE, parse(self.condor_release, line), "condor_release", line)

    @no_var_expand
    @line_magic
    @magic_arguments()
    @which_arguments()
    def condor_suspend(self, line: str) -> None:
        """Suspend running jobs: they keep their slots and their memory, and stand still.

        Example::

            In [1]: %condor_suspend 17.3
        """
        from htcmagic.jobs import acting

        self._act(acting.SUSPEND, parse(self.condor_suspend, line), "condor_suspend", line)

    @no_var_expand
    @line_magic
    @magic_arguments()
    @which_arguments()
    def condor_continue(self, line: str) -> None:
        """Let suspended jobs go on.

        Example::

            In [1]: %condor_continue 17.3
        """
        from htcmagic.jobs import acting

        self._act(acting.CONTINUE, parse(self.condor_continue, line), "condor_continue", line)

    @no_var_expand
    @line_magic
    @magic_arguments()
    @which_arguments()
    @argument("--fast", action="store_true", help="kill them at once, without time to clean up")
    def condor_vacate_job(self, line: str) -> None:
        """Take running jobs off their machines; they are idle again, and start anew elsewhere.

        Example::

            In [1]: %condor_vacate_job 17.3
        """
        from htcmagic.jobs import acting

        args = parse(self.condor_vacate_job, line)
        self._act(acting.VACATE_FAST if args.fast else acting.VACATE, args, "condor_vacate_job", line)

    @no_var_expand
    @line_magic
    @magic_arguments()
    @which_arguments()
    @argument("-p", dest="priority", default="", metavar="N|+N|-N", help="the new priority, or the change")
    def condor_prio(self, line: str) -> None:
        """Set the priority among one's own jobs: those with a greater one start first.

        Example::

            In [1]: %condor_prio -p 10 scan

            In [2]: %condor_prio -p +5 17.3
        """
        from htcmagic.jobs import acting

        args = parse(self.condor_prio, line)
        given = args.priority
        if not given and args.jobs and RELATIVE.match(args.jobs[0]):  # condor_prio +5 17
            given = args.jobs.pop(0)
        if not NUMBER.match(given):
            raise UsageError("Say which priority: %condor_prio -p 10 17, %condor_prio -p +5 17")
        plan = self._plan(acting.PRIO, args, "condor_prio", line, look=True)
        _tell(acting.prioritise(plan, int(given), by=bool(RELATIVE.match(given))))

    @no_var_expand
    @line_magic
    @magic_arguments()
    @which_arguments(edits=True)
    def condor_qedit(self, line: str) -> None:
        """Set attributes of jobs in the queue; values are ClassAd expressions, so a text wants quotes of its own.

        Example::

            In [1]: %condor_qedit scan RequestMemory 4096

            In [2]: %condor_qedit -constraint 'JobStatus == 5' RequestMemory=4096 Note '"more memory"'
        """
        from htcmagic.jobs import acting

        args = parse(self.condor_qedit, line)
        args.jobs, changes = _changes(args.jobs, named=bool(args.constraint or args.all))
        if not changes and (args.jobs or args.constraint or args.all):
            raise UsageError("Say what to set: %condor_qedit 17.3 RequestMemory 4096")
        plan = self._plan(acting.EDIT, args, "condor_qedit", line, look=True)
        _tell(acting.edit(plan, changes))

    def _act(self, action: Action, args: argparse.Namespace, command: str, line: str) -> None:
        from htcmagic.jobs import acting

        plan = self._plan(action, args, command, line)
        reason = getattr(args, "reason", "") or f"via %{command}"  # HTCondor adds by whom
        _tell(acting.act(plan, reason))

    def _plan(self, action: Action, args: argparse.Namespace, command: str, line: str, *, look: bool = False) -> Plan:
        from htcmagic.jobs import acting, choice
        from htcmagic.pool.client import client
        from htcmagic.pool.resolve import connect

        if bool(args.jobs) + bool(args.constraint) + args.all != 1:
            names = EXAMPLES.format(f"%{command}", "" if look else f", %{command} -all")
            raise UsageError(f"Say which jobs: {names}")
        targets: list[Target]
        if args.jobs:
            targets = [one for word in args.jobs for one in choice.targets(word, self.shell.user_ns)]
        else:
            targets = [choice.Target(args.constraint or "true")]
        there = None if args.schedd or args.pool else choice.pool_of(targets)
        whom = client(there) if there is not None else connect(args.schedd, args.pool, report=say)
        again = f"%{command} {line.strip()} --yes"
        plan = acting.plan(whom, action, targets, again=again, yes=args.yes, look=look)
        if args.constraint and not plan.counted:
            from htcmagic.queue.asking import hint

            plan.notes += filter(None, [hint(whom, whom.call("look", expression=args.constraint))])
        return plan


def _tell(lines: list[str]) -> None:
    for line in lines:
        say(line)


def _changes(words: list[str], *, named: bool) -> tuple[list[str], dict[str, str]]:
    """Return the words that name jobs, and what to set: ``NAME VALUE`` or ``NAME=VALUE``."""
    jobs = 0 if named else 1
    while not named and jobs < len(words) and re.match(r"\d+(\.\d+)?\Z", words[jobs]):
        jobs += 1
    rest, changes = words[jobs:], {}
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        if not equals and rest:
            value = rest.pop(0)
        if not ATTRIBUTE.match(name) or not value:
            what = f"{name} {value}".strip()
            raise UsageError(
                f"{shlex.quote(what)} is no attribute with its value: %condor_qedit 17.3 RequestMemory 4096"
            )
        changes[name] = value
    return words[:jobs], changes
