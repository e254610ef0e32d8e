"""Is this ATLAS? Its own packages tell.

Run in the started kernel's python: prints ``name version`` lines; one line, and status 1, if something is missing.
"""

import importlib
import os
import sys

ESSENTIAL = ("ROOT",)
WELCOME = ("xAODRootAccess", "AthenaCommon", "numpy", "scipy", "matplotlib", "pandas", "uproot", "awkward", "pyhf")


def version(module):
    """Return a module's version as it tells it, or ``?``."""
    if module.__name__ == "ROOT":
        return str(module.gROOT.GetVersion()) if hasattr(module, "gROOT") else getattr(module, "__version__", "?")
    return str(getattr(module, "__version__", "?"))


def main():
    """Import what there must be, then what there may be."""
    print(
        "ATLAS_LOCAL_ROOT_BASE",
        os.environ.get("ATLAS_LOCAL_ROOT_BASE") or sys.exit("ATLAS: ATLAS_LOCAL_ROOT_BASE is not set"),
    )
    project = os.environ.get("AtlasProject")
    if project:
        print(project, os.environ.get("AtlasVersion", "?"))
    if os.environ.get("LCG_VERSION"):
        print("LCG", os.environ["LCG_VERSION"])
    # ALRB alone brings no ROOT.
    essential = ESSENTIAL if project or os.environ.get("ROOTSYS") else ()
    for name in essential:
        try:
            print(name, version(importlib.import_module(name)))
        except Exception as error:
            sys.exit("ATLAS: cannot import %s: %s: %s" % (name, type(error).__name__, str(error).split("\n")[0]))
    for name in WELCOME:
        try:
            print(name, version(importlib.import_module(name)))
        except Exception:
            continue


main()
