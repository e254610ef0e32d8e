"""Print shell text that sets a release up: an error goes to stderr, with exit status 0 for a release there is not."""

import argparse
import os
import sys
from pathlib import Path

parser = argparse.ArgumentParser(prog="b2setup")
parser.add_argument("release", nargs="?", default=os.environ.get("MY_BELLE2_RELEASE"))
parser.add_argument("--externals", action="store_true")
args = parser.parse_args()
top = os.environ["VO_BELLE2_SW_DIR"]
release = f"{top}/releases/{args.release}"
if not Path(release).is_dir():
    sys.stderr.write(f'Error: No central release "{args.release}" found.\n')
    sys.exit(0)
version = Path(release, ".externals").read_text().strip()
externals = f"{top}/externals/{version}/Linux_x86_64/common"
tools = os.environ["BELLE2_TOOLS"]
values = {
    "BELLE2_RELEASE": args.release,
    "BELLE2_RELEASE_DIR": release,
    "BELLE2_EXTERNALS_DIR": f"{top}/externals/{version}",
    "BELLE2_EXTERNALS_VERSION": version,
    "PATH": f"{release}/bin/Linux_x86_64/opt:{externals}/bin:{os.environ['PATH']}",
    "PYTHONPATH": f"{release}/lib/Linux_x86_64/opt:{externals}/root:{tools}",
    "LD_LIBRARY_PATH": f"{release}/lib/Linux_x86_64/opt:{externals}/lib",
    "ROOTSYS": f"{externals}/root",
    "ROOT_INCLUDE_PATH": f"{release}/include",
    "JUPYTER_PATH": f"{externals}/share/jupyter",
    "G4LEDATA": f"{externals}/share/G4EMLOW",
    "PYTHONNOUSERSITE": "1",
}
for name, value in values.items():
    print(f'export {name}="{value}"')
print(f'echo "Environment setup for release : {args.release}"')
print(f'echo "Central release directory     : {release}"')
