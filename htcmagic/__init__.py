"""HTCondor as a first-class citizen of Jupyter: magics that send work to a pool and show it live.

Use it as ``%load_ext htcmagic`` in a notebook or in IPython. In Python code: :func:`clusters` and :func:`cluster` find
what was sent, :class:`Cluster` is the handle on it, :func:`why` says why jobs do not run, :func:`usage` what they used,
:func:`plot` draws when they ran. :func:`map`, :class:`Executor` and :func:`task` run functions in jobs,
:func:`load` finds a map again; in a job there are :func:`progress`, :func:`output_dir` and :class:`File`.
:class:`HTCMagicError` is the base of all errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from htcmagic.engines.dag.build import dag
    from htcmagic.engines.dag.handle import Dag, dags
    from htcmagic.errors import DependencyFailed, HTCMagicError, PythonMismatch, ResultMissing, TaskFailed, WorkerLost
    from htcmagic.functions.executor import Executor
    from htcmagic.functions.job import File, output_dir, progress
    from htcmagic.functions.mapping import Map, load, map  # noqa: A004 - in place of map(), as users write it
    from htcmagic.functions.task import task
    from htcmagic.jobs.cluster import Cluster, JobFuture
    from htcmagic.jobs.model import Exit, Hold, JobId, JobState
    from htcmagic.jobs.store import cluster, clusters
    from htcmagic.queue.plot import plot
    from htcmagic.queue.usage import usage
    from htcmagic.queue.why import why

__version__ = "0.1.0"
__all__ = [
    "Cluster",
    "Dag",
    "DependencyFailed",
    "Executor",
    "Exit",
    "File",
    "HTCMagicError",
    "Hold",
    "JobFuture",
    "JobId",
    "JobState",
    "Map",
    "PythonMismatch",
    "ResultMissing",
    "TaskFailed",
    "WorkerLost",
    "cluster",
    "clusters",
    "dag",
    "dags",
    "engines",
    "load",
    "map",
    "output_dir",
    "plot",
    "progress",
    "task",
    "usage",
    "why",
]

_HOMES = {
    "Dag": "htcmagic.engines.dag.handle",
    "dag": "htcmagic.engines.dag.build",
    "dags": "htcmagic.engines.dag.handle",
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
    "DependencyFailed": "htcmagic.errors",
    "PythonMismatch": "htcmagic.errors",
    "ResultMissing": "htcmagic.errors",
    "TaskFailed": "htcmagic.errors",
    "WorkerLost": "htcmagic.errors",
    "Executor": "htcmagic.functions.executor",
    "File": "htcmagic.functions.job",
    "output_dir": "htcmagic.functions.job",
    "progress": "htcmagic.functions.job",
    "Map": "htcmagic.functions.mapping",
    "load": "htcmagic.functions.mapping",
    "map": "htcmagic.functions.mapping",
    "task": "htcmagic.functions.task",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    import importlib  # noqa: PLC0415

    if name == "engines":
        return importlib.import_module("htcmagic.engines")
    if name not in _HOMES:
        raise AttributeError(f"module 'htcmagic' has no attribute {name!r}")
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
