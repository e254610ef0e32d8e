"""TAB in lines that look at a queue or a pool: my clusters, attributes of ads. Nothing here asks a daemon."""

from __future__ import annotations

import time
from itertools import islice

from IPython.core.completer import SimpleCompletion

LOOKING = frozenset(
    f"condor_{name}"
    for name in (
        *("q", "history", "status", "why", "watch", "usage", "plot", "log", "tail", "wait"),
        *("rm", "hold", "release", "suspend", "continue", "vacate_job", "prio", "qedit"),
    )
)
"""Magics that take jobs, or expressions over them."""
CLUSTERS = 100
"""The newest clusters of mine are offered, so many."""
KEPT_S = 5.0
EXPRESSIONS = ("constraint", "autoformat", "af", "aaf", "attributes", "sort", "since")
_known: tuple[float, list[SimpleCompletion]] = (0.0, [])


def words(magic: str, before: str, token: str) -> list[SimpleCompletion] | None:
    """Return what is offered at the cursor; None where options are.

    Parameters
    ----------
    magic : str
        Its name.
    before : str
        The line up to the cursor.
    token : str
        The word begun.
    """
    if magic not in LOOKING or token.startswith("-"):
        return None
    behind = _option(before.removesuffix(token).split())
    if behind is not None:
        from htcmagic.queue.attributes import OF_JOBS, OF_SLOTS

        names = OF_SLOTS if magic == "condor_status" else OF_JOBS
        return [SimpleCompletion(text=name, type="attribute") for name in names] if behind else []
    return clusters() if magic != "condor_status" and (not token or token[0].isdigit()) else None


def _option(before: list[str]) -> bool | None:
    """Whether the last option takes expressions; None if there is none, or it takes nothing."""
    for back, word in enumerate(reversed(before)):
        if word.startswith("-"):
            name = word.lstrip("-").partition(":")[0].lower()
            fits = [option for option in EXPRESSIONS if name and option.startswith(name)]
            if fits:
                one = fits[0] in {"attributes", "sort", "since"} and back > 0 and not before[-1].endswith(",")
                return None if one else True
            return True if name == "format" and back == 1 else None
    return None


def clusters() -> list[SimpleCompletion]:
    """Return the ids of my newest clusters, with their names; read from disk, at most every `KEPT_S` seconds."""
    global _known  # noqa: PLW0603
    if time.monotonic() - _known[0] > KEPT_S or not _known[1]:
        _known = (time.monotonic(), _clusters())
    return _known[1]


def _clusters() -> list[SimpleCompletion]:
    from htcmagic.jobs.rundir import all_runs

    found = []
    for run in islice(all_runs(), CLUSTERS):
        try:
            record = run.load()
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if record.cluster:
            found.append(SimpleCompletion(text=str(record.cluster), type=record.name or "cluster"))
    return found
