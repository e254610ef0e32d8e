"""Parsl, Dask, ipyparallel and DAGMan on the same pool: their own objects, configured, watched and explained."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from htcmagic.engines.dask_cluster import dask
    from htcmagic.engines.ipp import ipyparallel
    from htcmagic.engines.overview import status, stop
    from htcmagic.engines.parsl_config import parsl

__all__ = ["dask", "ipyparallel", "parsl", "status", "stop"]
_HOMES = {
    "parsl": "parsl_config",
    "dask": "dask_cluster",
    "ipyparallel": "ipp",
    "status": "overview",
    "stop": "overview",
}


def __getattr__(name: str) -> Any:
    """Import an engine's function when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'htcmagic.engines' has no attribute {name!r}")
    return getattr(importlib.import_module(f"htcmagic.engines.{_HOMES[name]}"), name)
