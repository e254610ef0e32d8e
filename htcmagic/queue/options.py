"""What is written behind ``%condor_q``, and the words that tell condor_q the same."""

from __future__ import annotations

from dataclasses import dataclass

LIVE = ("totals", "autocluster", "unmatchable")
"""Views that condor_q makes only from a live schedd."""


@dataclass(frozen=True, slots=True)
class Options:
    """The options of condor_q, under its own names.

    Parameters
    ----------
    words : tuple of str
        Ids and owners.
    everywhere : bool
        ``-global``: all schedds of the pool.
    view : str
        A key of :data:`htcmagic.queue.views.VIEWS`, one of `LIVE`, or empty.
    wide : str, optional
        The width; empty: without one.
    form : str
        ``long``, ``json`` or ``xml``, with a suffix as in ``long:new``.
    autoformat, appended : tuple of str
        ``-af`` and ``-aaf`` as condor_q spells them, with suffix, then their expressions: ``("-af:jh", "Owner")``.
    formats : tuple of (str, str)
        Of each ``-format`` the format and the expression.
    source : tuple of str
        ``-jobads`` or ``-userlog``, with suffix, and a file: in place of a schedd.
    """

    words: tuple[str, ...] = ()
    constraint: str | None = None
    limit: int = -1
    everywhere: bool = False
    nobatch: bool = False
    allusers: bool = False
    view: str = ""
    dag: bool = False
    cputime: bool = False
    currentrun: bool = False
    wide: str | None = None
    form: str = ""
    attributes: tuple[str, ...] = ()
    autoformat: tuple[str, ...] = ()
    appended: tuple[str, ...] = ()
    formats: tuple[tuple[str, str], ...] = ()
    print_format: str = ""
    source: tuple[str, ...] = ()

    @property
    def values_only(self) -> bool:
        """Whether values are shown, without heading and totals."""
        return bool(self.form or self.autoformat or self.formats)

    @property
    def batches(self) -> bool:
        """Whether a line is a batch of jobs."""
        return not (self.values_only or self.print_format or self.view or self.nobatch)

    @property
    def jobs(self) -> bool:
        """Whether a line is a job with the usual columns."""
        other = self.values_only or self.print_format or self.view or self.appended or self.dag or self.cputime
        return self.nobatch and not other

    @property
    def drawn_by_us(self) -> bool:
        """Whether we make the text, too."""
        if self.source or self.wide or self.appended:
            return False
        return self.batches or (self.jobs and not self.currentrun)

    @property
    def numbered(self) -> bool:
        """Whether the user's own columns begin with the job's id: ``-af:j``."""
        return bool(self.autoformat) and "j" in self.autoformat[0].partition(":")[2]

    def expressions(self) -> list[str]:
        """Return what the user's own columns hold."""
        return [*(what for _, what in self.formats), *self.autoformat[1:]]

    def asking(self) -> list[str]:
        """Return the words that tell condor_q which jobs."""
        words = list(self.words)
        words += ["-constraint", self.constraint] if self.constraint is not None else []
        words += ["-allusers"] if self.allusers else []
        return words + (["-limit", str(self.limit)] if self.limit >= 0 else [])

    def drawing(self) -> list[str]:
        """Return the words that tell condor_q how to show them."""
        flags = {
            "-global": self.everywhere,
            f"-{self.view.replace('_', '-')}": bool(self.view),
            "-nobatch": self.nobatch,
            "-dag": self.dag,
            "-cputime": self.cputime,
            "-currentrun": self.currentrun,
        }
        words = [flag for flag, given in flags.items() if given]
        words += [f"-wide:{self.wide}" if self.wide else "-wide"] if self.wide is not None else []
        return words + self.formatting()

    def formatting(self) -> list[str]:
        """Return the words for the user's own columns."""
        words = [f"-{self.form}"] if self.form else []
        words += ["-attributes", ",".join(self.attributes)] if self.attributes else []
        for form, what in self.formats:
            words += ["-format", form, what]
        words += ["-print-format", self.print_format] if self.print_format else []
        return [*words, *self.autoformat, *self.appended]
