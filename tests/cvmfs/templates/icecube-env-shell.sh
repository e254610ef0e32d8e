#!/bin/sh
# A metaproject's env-shell.sh: prints a banner, refuses a second start, then runs the command.
if [ -n "$I3_SHELL" ]; then
    echo "****************************************************************"
    echo "You are currently in a shell with the following environment: I3_BUILD=$I3_BUILD"
    echo "Exiting."
    exit 2
fi
I3_BUILD=$(cd "$(dirname "$0")" && pwd)
if [ -z "$SROOT" ]; then
    echo "I3_PORTS is not set up: eval setup.sh first"
    exit 1
fi
echo "************************************************************************"
echo "*                   W E L C O M E  to  I C E T R A Y                   *"
echo "************************************************************************"
export I3_BUILD I3_SRC="$I3_BUILD/src" I3_SHELL=bash
export PATH="$I3_BUILD/bin:$PATH" LD_LIBRARY_PATH="$I3_BUILD/lib:$LD_LIBRARY_PATH" PYTHONPATH="$I3_BUILD/lib:$PYTHONPATH"
if [ $# -eq 0 ]; then
    exec /bin/bash
fi
exec "$@"
