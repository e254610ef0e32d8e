"""What a word of a line names: a variable, by whatever handle of ours it holds, else what was sent under that name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from htcmagic.jobs import store
from htcmagic.jobs.cluster import Cluster, JobFuture

INDEXED = re.compile(r"(?P<name>[^\W\d]\w*)\[(?P<index>-?\d+)\]\Z")


def clusters_behind(value: object) -> list[Cluster]:
    """Return the clusters of a handle: itself, or those that a cell, a map, an executor or a DAG has sent."""
    if isinstance(value, Cluster):
        return [value]
    if not type(value).__module__.startswith("htcmagic."):
        return []
    for name in ("clusters", "cluster"):
        found = getattr(value, name, None)
        some = [one for one in (found if isinstance(found, list) else [found]) if isinstance(one, Cluster)]
        if some:
            return some
    return []


def named(word: str, namespace: Mapping[str, Any]) -> list[Cluster] | list[JobFuture]:
    """Return what a word names: a variable's clusters, one job of them (``scan[3]``), or my newest of that name.

    Parameters
    ----------
    word : str
        As typed; ids are looked up like names.
    namespace : mapping
        The notebook's variables.

    Returns
    -------
    list
        Clusters, or one job; empty if it names none of mine.
    """
    found = INDEXED.match(word)
    value = namespace.get(found["name"] if found else word)
    clusters = clusters_behind(value)
    if found:
        clusters = clusters or store.clusters(found["name"], limit=1)
        return [clusters[-1][int(found["index"])]] if clusters else []
    if clusters:
        return clusters
    if isinstance(value, JobFuture):
        return [value]
    return store.clusters(word, limit=1)
