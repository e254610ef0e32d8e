"""Is this Fermilab? Its own packages tell.

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
    products = sorted(name for name in os.environ if name.startswith("SETUP_") and name != "SETUP_UPS")
    if not products:
        sys.exit("Fermilab: no UPS product is set up")
    for name in products:
        print(name[6:].lower(), (os.environ[name].split() + ["?", "?"])[1])
    essential = ("ROOT",) if "SETUP_ROOT" in os.environ else ()
    for name in essential:
        try:
            print(name, version(importlib.import_module(name)))
        except Exception as error:
            sys.exit("Fermilab: cannot import %s: %s: %s" % (name, type(error).__name__, str(error).split("\n")[0]))
    for name in WELCOME:
        try:
            print(name, version(importlib.import_module(name)))
        except Exception:
            continue


main()
