"""``python -m htcmagic.pool``: the child process that holds HTCondor's bindings."""

from __future__ import annotations

import sys

from htcmagic.pool import door, door_events, door_submit

door.OPERATIONS.update(door_submit.OPERATIONS | door_events.OPERATIONS)
sys.exit(door.main())
