"""``%condor_status``, ``%condor_history``, ``%condor_userprio``, ``%condor_version``, ``%condor_config``."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_magic, magics_class, no_var_expand
from IPython.core.magic_arguments import argument, magic_arguments

from htcmagic.magics.output import say

if TYPE_CHECKING:
    from htcmagic.pool.client import Client
    from htcmagic.queue.listing import Listing


@magics_class
class StatusMagics(Magics):
    """Looking at the pool and at what was."""

    @no_var_expand
    @line_magic
    @magic_arguments()
    @argument("words", nargs="*", metavar="NAME", help="machines or slots")
    @argument("--compact", action="store_true", help="one line a machine")
    @argument("--avail", action="store_true", help="slots that are free")
    @argument("--claimed", action="store_true", help="slots in use, and by whom")
    @argument("--schedd", action="store_true", help="schedds and their queues")
    @argument("--submitters", action="store_true", help="users with jobs")
    @argument("--gpus", action="store_true", help="slots with GPUs")
    @argument("--server", action="store_true", help="memory, disk and speed of slots")
    @argument("--run", action="store_true", help="schedds with running jobs")
    @argument("--state", action="store_true", help="state of slots, and since when")
    @argument("--master", action="store_true", help="masters")
    @argument("--collector", action="store_true", help="collectors")
    @argument("--negotiator", action="store_true", help="negotiators")
    @argument("--any", action="store_true", help="ads of all kinds")
    @argument("--totals", action="store_true", help="totals only")
    @argument("--constraint", metavar="EXPR", help="only ads for which this ClassAd expression is true")
    @argument("--limit", metavar="N", help="at most so many ads")
    @argument("--sort", metavar="EXPR", help="in the order of this expression")
    @argument("--autoformat", "--af", nargs="+", metavar="EXPR", help="values only; -af:jlhVrTY,tng as in condor_q")
    @argument("--format", nargs=2, metavar=("FMT", "EXPR"), help="a value by a printf format")
    @argument("--long", action="store_true", help="whole ads")
    @argument("--json", action="store_true", help="whole ads as JSON")
    @argument("--xml", action="store_true", help="whole ads as XML")
    @argument("--attributes", metavar="A,B", help="of whole ads only these attributes")
    @argument("--wide", action="store_true", help="do not cut columns")
    @argument("--pool", metavar="COLLECTOR", help="central manager: host or host:port")
    def condor_status(self, line: str) -> Listing:
        """Show the pool's machines, as condor_status does, and takes all of its options; the result is a table.

        Example::

            In [1]: %condor_status -compact

            In [2]: slots = %condor_status -constraint 'Memory > 64000' -af Name Memory
        """
        from htcmagic.queue.status import NAME, OPTIONS, SHORT, status

        client, words = _read(NAME, line, OPTIONS, SHORT)
        return _noted(status(client, words))

    @no_var_expand
    @line_magic
    @magic_arguments()
    @argument("words", nargs="*", metavar="JOB|OWNER", help="cluster, cluster.proc, or a user's name")
    @argument("--limit", metavar="N", help="at most so many jobs, newest first")
    @argument("--since", metavar="JOB|EXPR", help="search back to this job, or until this is true")
    @argument("--completedsince", metavar="TIME", help="jobs that completed at this time or later")
    @argument("--constraint", metavar="EXPR", help="only jobs for which this ClassAd expression is true")
    @argument("--scanlimit", metavar="N", help="look at so many jobs")
    @argument("--forwards", action="store_true", help="oldest first")
    @argument("--autoformat", "--af", nargs="+", metavar="EXPR", help="values only; -af:jlhVrTY,tng as in condor_q")
    @argument("--format", nargs=2, metavar=("FMT", "EXPR"), help="a value by a printf format")
    @argument("--print-format", metavar="FILE", help="columns as a file describes them")
    @argument("--long", action="store_true", help="whole ads")
    @argument("--json", action="store_true", help="whole ads as JSON")
    @argument("--jsonl", action="store_true", help="whole ads as JSON, one a line")
    @argument("--xml", action="store_true", help="whole ads as XML")
    @argument("--attributes", metavar="A,B", help="of whole ads only these attributes")
    @argument("--wide", action="store_true", help="do not cut columns")
    @argument("--userlog", metavar="FILE", help="the jobs of an event log")
    @argument("--file", metavar="FILE", help="the jobs of a history file")
    @argument("--epochs", action="store_true", help="every run of a job")
    @argument("--name", metavar="NAME", help="schedd to ask")
    @argument("--pool", metavar="COLLECTOR", help="central manager: host or host:port")
    def condor_history(self, line: str) -> Listing:
        """Show jobs that have left the queue, as condor_history does, and takes all of its options.

        Without -limit the search ends after 20 s, and what was found is shown.

        Example::

            In [1]: %condor_history -limit 20

            In [2]: memory = %condor_history 17 -af RequestMemory MemoryUsage
        """
        from htcmagic.queue.history import NAME, OPTIONS, SHORT, history

        client, words = _read(NAME, line, OPTIONS, SHORT, named=True)
        return _noted(history(client, words))

    @no_var_expand
    @line_magic
    @magic_arguments()
    @argument("words", nargs="*", metavar="USER", help="only these users")
    @argument("--allusers", action="store_true", help="also those without recent use")
    @argument("--priority", action="store_true", help="priorities")
    @argument("--usage", action="store_true", help="use")
    @argument("--quotas", action="store_true", help="quotas of groups")
    @argument("--most", action="store_true", help="what is mostly wanted")
    @argument("--all", action="store_true", help="all columns")
    @argument("--pool", metavar="COLLECTOR", help="central manager: host or host:port")
    def condor_userprio(self, line: str) -> Listing:
        """Show users' priorities, as condor_userprio does; the result is a table.

        Example::

            In [1]: %condor_userprio -allusers
        """
        from htcmagic.queue.others import USERPRIO, userprio

        client, words = _read("condor_userprio", line, USERPRIO, {"l": "long"})
        return userprio(client.pool, words)

    @no_var_expand
    @line_magic
    @magic_arguments()
    @argument("--arch", action="store_true", help="the processor it is made for")
    @argument("--opsys", action="store_true", help="the system it is made for")
    def condor_version(self, line: str) -> Listing:
        """Show the version of HTCondor's programs, as condor_version does.

        Example::

            In [1]: %condor_version
        """
        from htcmagic.pool.address import Pool
        from htcmagic.queue.others import version

        return version(Pool(), line.split())

    @no_var_expand
    @line_magic
    @magic_arguments()
    @argument("words", nargs="*", metavar="NAME", help="settings; all of them without a name")
    @argument("--dump", action="store_true", help="all whose names fit the words as regular expressions")
    @argument("--raw", action="store_true", help="as written in the file")
    @argument("--verbose", action="store_true", help="also where it is written")
    @argument("--default", action="store_true", help="as it would be unset")
    @argument("--config", action="store_true", help="the files of the configuration")
    @argument("--summary", action="store_true", help="what files change")
    def condor_config(self, line: str) -> Listing:
        """Show HTCondor's configuration, as condor_config_val does.

        Example::

            In [1]: %condor_config CONDOR_HOST

            In [2]: %condor_config -dump SEC_
        """
        from htcmagic.queue.others import CONFIG, config

        client, words = _read("condor_config", line, CONFIG, {})
        return config(client.pool, words)


def _read(
    magic: str, line: str, options: Mapping[str, int], short: Mapping[str, str], *, named: bool = False
) -> tuple[Client, list[str]]:
    """Return the client of the pool that is meant, and the words but those that name it."""
    from htcmagic.pool.resolve import connect
    from htcmagic.queue import spelling

    try:
        words = shlex.split(line)
    except ValueError as error:
        raise UsageError(f"{error}: {line.strip()}") from None
    naming = {"pool": 1, **({"name": 1} if named else {})}
    edits = any(word.lstrip("-").lower() in {"set", "unset", "rset", "runset"} for word in words)
    if magic == "condor_config" and edits:
        return connect(report=say), words
    asked = spelling.read(magic, words, {**options, **naming}, short)
    schedd, pool = ("".join(spelling.values(asked, name)[-1:]) for name in ("name", "pool"))
    return connect(schedd, pool, report=say), spelling.spelled(asked, without=tuple(naming))


def _noted(listing: Listing) -> Listing:
    if listing.note:
        say(listing.note)
    return listing
