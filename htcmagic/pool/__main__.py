"""``python -m htcmagic.pool``: the child process that holds HTCondor's bindings."""

from __future__ import annotations

import sys

from htcmagic.pool import door, door_ads, door_dag, door_events, door_feed, door_log, door_submit, door_usage, door_why

door.OPERATIONS.update(door_submit.OPERATIONS | door_ads.OPERATIONS | door_events.OPERATIONS | door_why.OPERATIONS)
door.OPERATIONS.update(door_usage.OPERATIONS | door_log.OPERATIONS | door_feed.OPERATIONS | door_dag.OPERATIONS)
sys.exit(door.main())
