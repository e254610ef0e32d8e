"""Is this sPHENIX? Its own packages tell.

Run in the started kernel's python: prints ``name version`` lines; one line, and status 1, if something is missing.
"""

import importlib
import os
import sys

ESSENTIAL = ("ROOT",)
WELCOME = ("pyfun4all", "numpy", "scipy", "matplotlib", "pandas", "uproot", "awkward")


def version(module):
    """Return a module's version as it tells it, or ``?``."""
    if module.__name__ == "ROOT":
        return str(module.gROOT.GetVersion()) if hasattr(module, "gROOT") else getattr(module, "__version__", "?")
    return str(getattr(module, "__version__", "?"))


def main():
    """Import what there must be, then what there may be."""
    print("OFFLINE_MAIN", os.environ.get("OFFLINE_MAIN") or sys.exit("sPHENIX: OFFLINE_MAIN is not set"))
    essential = ESSENTIAL
    for name in essential:
        try:
            print(name, version(importlib.import_module(name)))
        except Exception as error:
            sys.exit("sPHENIX: cannot import %s: %s: %s" % (name, type(error).__name__, str(error).split("\n")[0]))
    for name in WELCOME:
        try:
            print(name, version(importlib.import_module(name)))
        except Exception:
            continue


main()
