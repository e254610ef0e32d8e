"""HTCondor as a first-class citizen of Jupyter: magics that send work to a pool and show it live.

Use it as ``%load_ext htcmagic`` in a notebook or in IPython. In Python code: :func:`clusters` and :func:`cluster` find
what was sent, :class:`Cluster` is the handle on it, :func:`why` says why jobs do not run, :func:`usage` what they used,
:func:`plot` draws when they ran, :class:`HTCMagicError` is the base of all errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from htcmagic.errors import HTCMagicError
    from htcmagic.jobs.cluster import Cluster, JobFuture
    from htcmagic.jobs.model import Exit, Hold, JobId, JobState
    from htcmagic.jobs.store import cluster, clusters
    from htcmagic.queue.plot import plot
    from htcmagic.queue.usage import usage
    from htcmagic.queue.why import why

__version__ = "0.1.0"
__all__ = [
    "Cluster",
    "Exit",
    "HTCMagicError",
    "Hold",
    "JobFuture",
    "JobId",
    "JobState",
    "cluster",
    "clusters",
    "plot",
    "usage",
    "why",
]

_HOMES = {
    "Cluster": "htcmagic.jobs.cluster",
    "JobFuture": "htcmagic.jobs.cluster",
    "Exit": "htcmagic.jobs.model",
    "Hold": "htcmagic.jobs.model",
    "JobId": "htcmagic.jobs.model",
    "JobState": "htcmagic.jobs.model",
    "cluster": "htcmagic.jobs.store",
    "clusters": "htcmagic.jobs.store",
    "plot": "htcmagic.queue.plot",
    "usage": "htcmagic.queue.usage",
    "why": "htcmagic.queue.why",
    "HTCMagicError": "htcmagic.errors",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'htcmagic' has no attribute {name!r}")
    import importlib  # noqa: PLC0415

    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def load_ipython_extension(shell: Any) -> None:
    """Register the magics and the completion: what ``%load_ext htcmagic`` calls."""
    from htcmagic.magics import register  # noqa: PLC0415

    register(shell)


def unload_ipython_extension(shell: Any) -> None:
    """Take the completion away; IPython keeps magics."""
    from htcmagic.magics import unregister  # noqa: PLC0415

    unregister(shell)
