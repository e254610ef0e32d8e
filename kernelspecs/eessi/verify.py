"""Is this EESSI? Its own packages tell.

Run in the started kernel's python: prints ``name version`` lines; one line, and status 1, if something is missing.
"""

import importlib
import os
import sys

ESSENTIAL = ()
WELCOME = ("ROOT", "numpy", "scipy", "matplotlib", "pandas", "uproot", "awkward")


def version(module):
    """Return a module's version as it tells it, or ``?``."""
    if module.__name__ == "ROOT":
        return str(module.gROOT.GetVersion()) if hasattr(module, "gROOT") else getattr(module, "__version__", "?")
    return str(getattr(module, "__version__", "?"))


def main():
    """Import what there must be, then what there may be."""
    print("EESSI_VERSION", os.environ.get("EESSI_VERSION") or sys.exit("EESSI: EESSI_VERSION is not set"))
    for name in (os.environ.get("LOADEDMODULES") or sys.exit("EESSI: no module is loaded")).split(":"):
        print(*(name.rsplit("/", 1) if "/" in name else (name, "?")))
    essential = ESSENTIAL
    for name in essential:
        try:
            print(name, version(importlib.import_module(name)))
        except Exception as error:
            sys.exit("EESSI: cannot import %s: %s: %s" % (name, type(error).__name__, str(error).split("\n")[0]))
    for name in WELCOME:
        try:
            print(name, version(importlib.import_module(name)))
        except Exception:
            continue


main()
