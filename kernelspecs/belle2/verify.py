"""Is this Belle II? Its own packages tell.

Run in the started kernel's python: prints ``name version`` lines; one line, and status 1, if something is missing.
"""

import importlib
import os
import sys

ESSENTIAL = ("basf2",)
WELCOME = ("ROOT", "modularAnalysis", "b2luigi", "numpy", "scipy", "matplotlib", "pandas", "uproot", "awkward")


def version(module):
    """Return a module's version as it tells it, or ``?``."""
    if module.__name__ == "ROOT":
        return str(module.gROOT.GetVersion()) if hasattr(module, "gROOT") else getattr(module, "__version__", "?")
    return str(getattr(module, "__version__", "?"))


def main():
    """Import what there must be, then what there may be."""
    print("BELLE2_RELEASE", os.environ.get("BELLE2_RELEASE") or sys.exit("Belle II: BELLE2_RELEASE is not set"))
    print(
        "BELLE2_EXTERNALS_VERSION",
        os.environ.get("BELLE2_EXTERNALS_VERSION") or sys.exit("Belle II: BELLE2_EXTERNALS_VERSION is not set"),
    )
    essential = ESSENTIAL
    for name in essential:
        try:
            print(name, version(importlib.import_module(name)))
        except Exception as error:
            sys.exit("Belle II: cannot import %s: %s: %s" % (name, type(error).__name__, str(error).split("\n")[0]))
    for name in WELCOME:
        try:
            print(name, version(importlib.import_module(name)))
        except Exception:
            continue


main()
