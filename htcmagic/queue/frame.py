"""Pandas, which nothing needs but data frames."""

from __future__ import annotations

from types import ModuleType

from htcmagic.errors import HTCMagicError


def pandas() -> ModuleType:
    """Return the pandas module.

    Raises
    ------
    HTCMagicError
        It is not installed.
    """
    try:
        import pandas as pd  # noqa: PLC0415
    except ImportError:
        raise HTCMagicError(
            "A data frame needs pandas, which is not installed in this kernel.",
            hint="%pip install pandas, or to_dicts() for plain Python",
        ) from None
    module: ModuleType = pd
    return module
