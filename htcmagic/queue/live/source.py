"""Where a live view's table comes from: event logs of own clusters, and the feed for the rest of the queue."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from htcmagic.errors import HTCMagicError
from htcmagic.pool import personal
from htcmagic.pool.address import Pool
from htcmagic.pool.client import client
from htcmagic.pool.feed import Subscription
from htcmagic.pool.feed_wire import Ask, Ids, ranges
from htcmagic.queue.asking import absent, hint
from htcmagic.queue.live.merge import batches
from htcmagic.queue.live.model import LiveBatch, LiveTable, Want
from htcmagic.queue.live.others import PROJECTION, Others
from htcmagic.queue.live.own import RECENT_S, Own, Runs, chosen, user
from htcmagic.queue.request import request

LOOK_S = 1.0
"""How often it is looked for new submissions, and whether the news have stopped."""
CALM_S = 0.2
"""Shortest time between two calls of `changed`."""
FIRST_S = 1.0
"""How long `start` waits for one's own clusters."""
_ID = re.compile(r"\d{1,9}\.?", re.ASCII)


class LiveSource:
    """Follows what is wanted, from `start` to `close`.

    Parameters
    ----------
    want : Want
        What is watched.

    Raises
    ------
    HTCMagicError
        A word names no cluster of one's own, or is no id or owner.
    """

    def __init__(self, want: Want) -> None:
        self.want = want
        self._own: dict[str, Own] = {}
        self._lock = threading.RLock()
        self._wake = threading.Event()
        self._first = threading.Event()
        self._closed = threading.Event()
        self._changed: Callable[[], None] = lambda: None
        self._feed: Subscription | None = None
        self._table = LiveTable(
            (), 0.0, stale=False, note="", where="", version=0, finished=False, nobatch=want.nobatch
        )
        self._ever = False
        self._taken = self._told = False
        """Whether the feed's first answer has been taken over, and is in the table."""
        self._names: list[str] = []
        self._hint = ""
        self._until = 0.0
        self._runs = _beside(want) if want.queue is not None else chosen(want.words, RECENT_S)
        if want.queue is not None:
            self._asked = request(want.words, constraint=want.constraint, nobatch=want.nobatch, allusers=want.allusers)
            self._others = Others(want.queue, partial=self._asked.partial)

    def start(self, changed: Callable[[], None]) -> None:
        """Begin; return as soon as own clusters are known, within a second even when the schedd is frozen.

        Parameters
        ----------
        changed : callable
            Called in a daemon thread after changes, at most five times a second: ask for `table` then. Its
            exceptions are dropped.

        Raises
        ------
        HTCMagicError
            The constraint does not parse.
        """
        want = self.want
        if want.queue is not None and want.constraint is not None:
            self._names = client(want.queue).call("look", expression=want.constraint)
        self._changed = changed
        threading.Thread(target=self._run, name="htcmagic-watch", daemon=True).start()
        self._first.wait(FIRST_S)

    def table(self) -> LiveTable:
        """Return what is known now; cheap, from any thread, also before `start` and after `close`."""
        with self._lock:
            return replace(self._table, seen=self._seen())

    def close(self) -> None:
        """End, with what is known now in the table; may be called twice and from `changed`, which is called no more."""
        if self._first.is_set() and not self._closed.is_set():
            self._names = []  # no more questions
            self._renew()
        self._closed.set()
        self._wake.set()
        if self._feed is not None:
            self._feed.close()
        with self._lock:
            self._until = self._until or time.time()
            for one in self._own.values():
                one.close()

    # the thread

    def _run(self) -> None:
        self._find()
        if self.want.queue is not None:
            self._subscribe(self.want.queue)
        self._renew()
        self._first.set()
        self._tell()
        looked = time.monotonic()
        while not self._closed.is_set():
            self._wake.wait(max(0.0, looked + LOOK_S - time.monotonic()))
            woken = self._wake.is_set()
            self._wake.clear()
            if time.monotonic() - looked >= LOOK_S:
                looked = time.monotonic()
                woken |= self._find() or self._note() != self._table.note
            if woken and self._renew():
                self._tell()
                self._closed.wait(CALM_S)

    def _tell(self) -> None:
        if not self._closed.is_set():
            with contextlib.suppress(Exception):  # a view's trouble is its own
                self._changed()

    def _find(self) -> bool:
        """Look for submissions that are new; whether there are any."""
        if self._runs is None:
            return False
        found = False
        shown = time.monotonic()
        for cluster in self._runs.look():
            if self._closed.is_set():
                return False
            with self._lock:
                self._own[cluster.record.run] = Own(cluster, self._wake.set)
            found = True
            if time.monotonic() - shown > FIRST_S / 2 and self._renew():  # there may be many, and their logs long
                shown = time.monotonic()
                self._tell()
        if found and self._feed is not None:
            self._feed.ask(self._ask())
        return found

    def _subscribe(self, pool: Pool) -> None:
        with self._lock:
            if not self._closed.is_set():
                self._feed = Subscription(pool, self._ask(), self._news)
                self._feed.start()

    def _ask(self) -> Ask:
        followed = [one.cluster.id for one in self._own.values() if one.by_log]
        return Ask(self._asked.constraint, PROJECTION, self._asked.my_jobs, ranges(followed))

    def _news(self, ids: set[Ids]) -> None:
        """Take over what the feed tells; in the subscription's thread."""
        feed = self._feed
        if feed is not None:
            if ids:
                with self._lock:
                    self._others.take(feed.rows, ids, feed.sign.skew_s, feed.sign.me)
            self._taken = feed.answered
            self._wake.set()

    def _renew(self) -> bool:
        """Make the table anew; whether it differs from the last one."""
        self._look_for_slips()
        with self._lock:
            before, self._told = self._table, self._taken
            made = replace(
                before,
                batches=self._batches(),
                stale=self._feed is not None and bool(self._feed.trouble),
                note=self._note(),
                where=self._where(),
                finished=self._finished(),
            )
            if made == before and made.version:
                return False
            self._table = replace(made, version=before.version + 1)
            return True

    def _look_for_slips(self) -> None:
        """See, once and in this thread, whether no job fits since no job has what the constraint names."""
        if self._names and self._taken and self.want.queue is not None:
            names, self._names = self._names, []
            if not self._others.clusters():
                with contextlib.suppress(HTCMagicError):
                    self._hint = hint(client(self.want.queue), names)

    def _batches(self) -> tuple[LiveBatch, ...]:
        own = {
            (one.cluster.record.pool.key, one.cluster.id): one for one in self._by_age()
        }  # a purged pool counts anew
        if self._feed is None:
            return batches(one.part(user()) for one in own.values())
        dags = self._others.managers()
        mine = {number: one for (_, number), one in own.items() if number not in dags}
        me = self._feed.sign.me or user()
        parts = [one.part(me) for one in mine.values()]
        return batches([*parts, *self._others.parts(set(mine))], constraint=self.want.constraint or "")

    def _by_age(self) -> list[Own]:
        return sorted(self._own.values(), key=lambda one: one.cluster.record.created)

    def _seen(self) -> float:
        if self._feed is None:
            return self._until or time.time()
        return self._feed.sign.seen if self._told else 0.0

    def _note(self) -> str:
        pool = self.want.queue
        pools = [one.cluster.record.pool for one in self._own.values() if not one.cluster.done]
        ours = any(each.config == str(personal.config_file()) for each in [*pools, *([pool] if pool else [])])
        if ours and personal.stopped():
            return "The personal pool is down."
        if self._feed is not None:
            if self._feed.refused is not None:
                return self._feed.refused.message
            if self._feed.trouble:
                return self._feed.trouble
            if self._told and not self._ever and not self._others.clusters():
                return self._hint or (absent(self.want.words) if self.want.words and not self._own else "")
        return next((f"{note}." for one in self._own.values() if (note := one.cluster.note)), "")

    def _where(self) -> str:
        if self._feed is not None:
            return self._feed.sign.label or str(self.want.queue)
        return ", ".join(sorted({str(one.cluster.record.pool) for one in self._own.values()}))

    def _finished(self) -> bool:
        left = any(not one.cluster.done for one in self._own.values())
        if self._feed is not None and self._feed.refused is None:
            if not self._taken:
                return False
            left = left or bool(self._others.clusters())
        self._ever = self._ever or left
        return not left and (self._ever or bool(self.want.words))


def _beside(want: Want) -> Runs | None:
    """Return the own clusters that need not be asked after; None where only the schedd can tell which are wanted."""
    ids = {word.rstrip(".") for word in want.words if _ID.fullmatch(word)}
    if want.queue is None or want.constraint is not None or len(ids) < len(set(want.words)):
        return None
    key = want.queue.key
    return Runs(lambda record: record.pool.key == key and (not ids or str(record.cluster) in ids), recent_s=0.0)
