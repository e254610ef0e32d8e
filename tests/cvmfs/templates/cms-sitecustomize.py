"""What CMS' python does: PYTHON3PATH in place of PYTHONPATH."""

import os
import sys

sys.path += [folder for folder in os.environ.get("PYTHON3PATH", "").split(":") if folder]
