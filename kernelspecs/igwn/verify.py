"""Is this IGWN? Its own packages tell.

Run in the started kernel's python: prints ``name version`` lines; one line, and status 1, if something is missing.
"""

import importlib
import os
import sys

ESSENTIAL = ("gwpy",)
WELCOME = (
    "lal",
    "lalsimulation",
    "pycbc",
    "gwosc",
    "bilby",
    "numpy",
    "scipy",
    "matplotlib",
    "pandas",
    "uproot",
    "awkward",
)


def version(module):
    """Return a module's version as it tells it, or ``?``."""
    if module.__name__ == "ROOT":
        return str(module.gROOT.GetVersion()) if hasattr(module, "gROOT") else getattr(module, "__version__", "?")
    return str(getattr(module, "__version__", "?"))


def main():
    """Import what there must be, then what there may be."""
    print("CONDA_DEFAULT_ENV", os.environ.get("CONDA_DEFAULT_ENV") or sys.exit("IGWN: CONDA_DEFAULT_ENV is not set"))
    essential = ESSENTIAL
    for name in essential:
        try:
            print(name, version(importlib.import_module(name)))
        except Exception as error:
            sys.exit("IGWN: cannot import %s: %s: %s" % (name, type(error).__name__, str(error).split("\n")[0]))
    for name in WELCOME:
        try:
            print(name, version(importlib.import_module(name)))
        except Exception:
            continue


main()
