"""``%condor_watch``: what I sent, live; the view behind ``%condor_q --watch``, too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from IPython.core.magic import Magics, line_magic, magics_class, no_var_expand
from IPython.core.magic_arguments import argument, magic_arguments

from htcmagic.magics.options import parse

if TYPE_CHECKING:
    from htcmagic.queue.live.model import Want
    from htcmagic.queue.live.view import LiveView

FORMS = ("widget", "html", "text")
FORM_HELP = "not the best that the front end can show but this: widget, html or text (once)"


@magics_class
class WatchMagics(Magics):
    """Looking on."""

    @no_var_expand
    @line_magic
    @magic_arguments()
    @argument("what", nargs="*", metavar="CLUSTER", help="a cluster: its id, variable or batch name; all if not given")
    @argument("--nobatch", action="store_true", help="one line for each job")
    @argument("--form", default="", choices=["", *FORMS], help=FORM_HELP)
    def condor_watch(self, line: str) -> LiveView | None:
        """Show what I sent in a live table that follows the event logs; the schedd is not asked.

        In a notebook it lives until all jobs have ended, its cell runs again, or ``view.stop()``; in a terminal until
        Ctrl-C. Everybody's jobs: ``%condor_q --watch``.

        Example::

            In [1]: %condor_watch

            In [2]: view = %condor_watch scan
        """
        from htcmagic.queue.live.model import Want

        args = parse(self.condor_watch, line)
        words = tuple(one for word in args.what for one in _words(word, self.shell.user_ns))
        return show(self.shell, Want(words, nobatch=args.nobatch), args.form)


def show(shell: Any, want: Want, form: str = "") -> LiveView | None:
    """Show a live view where there is a front end for it, else a screen or one table of text."""
    if form == "text" or getattr(shell, "kernel", None) is None:
        from htcmagic.queue.live import screen
        from htcmagic.queue.live.source import LiveSource

        screen.watch(LiveSource(want))
        return None
    from htcmagic.queue.live.view import LiveView

    view = LiveView(want, form)
    view.show()
    return view


def _words(word: str, namespace: dict[str, Any]) -> list[str]:
    """Return a word as the source takes it: a variable's clusters by the names of their runs."""
    from htcmagic.jobs import naming
    from htcmagic.jobs.cluster import JobFuture

    value = namespace.get(word)
    some = [value._cluster] if isinstance(value, JobFuture) else naming.clusters_behind(value)  # noqa: SLF001
    return [one.record.run for one in some] or [word]
