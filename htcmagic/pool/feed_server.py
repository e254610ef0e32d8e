"""The feed: one process a user, machine and pool that asks the schedd for all notebooks which watch its queue.

``python -m htcmagic.pool.feed_server SOCKET POOL``; started detached by :mod:`.feed`. It holds a lock on
``SOCKET.lock`` as long as it lives, so that there is one; it ends some seconds after its last subscriber. It has
HTCondor's bindings in a child process (:mod:`.door_feed`), as a kernel has, and so hears its subscribers while
the schedd is frozen. The child is killed by the system when the feed is.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pickle
import selectors
import signal
import socket
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from htcmagic.errors import CellError, HTCMagicError
from htcmagic.pool.address import Pool
from htcmagic.pool.client import Door, environment
from htcmagic.pool.feed_wire import (
    LONGEST_S,
    SHORTEST_S,
    Ask,
    Ids,
    Message,
    News,
    Refused,
    Row,
    Sign,
    is_ours,
)
from htcmagic.pool.wire import HEADER

LINGER_S = 5.0
"""How long it stays without subscribers: the next view often follows."""
SLOW_S = 5.0
"""A query that takes longer, and three times as long as the last one, is told."""
GIVE_UP_S = 60.0
"""A query that takes longer is given up: its process is killed, and another one asks."""
DUTY_EVERY_S = 60.0
BUSY, BUSY_FACTOR = 0.8, 4
"""Above this duty cycle the schedd is asked so much less often."""
SHARE = 10
"""The period is at least so many times what the query took."""
IDLE_SHARE = 110
"""The same while nothing changes, up to twice the longest period: 10,000 jobs take 0.16 s, so it is 18 s for them."""
LONGEST_DOWN_S = 5.0
"""How often a schedd that is not there is tried: that costs it nothing."""
LONGEST_QUESTION = 1 << 20
"""Bytes that a subscriber may send as one question."""
LONGEST_BACKLOG = 256 << 20
"""Bytes that may wait for a subscriber that does not read; then it is let go, and comes again."""


def pace(period_s: float, *, changed: bool, took_s: float = 0.0, duty: float = 0.0) -> float:
    """Return the time to the next query.

    Parameters
    ----------
    period_s : float
        The time that lay before this one.
    changed : bool
        Whether it has shown anything new.
    took_s : float
        How long it took.
    duty : float
        The share of time in which the schedd is busy.
    """
    busy = BUSY_FACTOR if duty > BUSY else 1
    longest_s = min(max(LONGEST_S, IDLE_SHARE * took_s), 2 * LONGEST_S)
    period_s = SHORTEST_S * busy if changed else min(period_s * 1.5, longest_s * busy)
    return max(period_s, SHORTEST_S * busy, SHARE * took_s)


@dataclass(eq=False)
class Subscriber:
    """One view, at the other end of a socket."""

    peer: socket.socket
    ask: Ask | None = None
    heard: bytearray = field(default_factory=bytearray)
    to_say: bytearray = field(default_factory=bytearray)
    begun: bool = False
    """Whether it has been told all rows."""


class Asker:
    """The thread that waits for the schedd; it lives as long as the feed, since the child dies with it."""

    def __init__(self, pool: Pool) -> None:
        self.done, self._tell = socket.socketpair()
        self.answer: dict[str, Any] | HTCMagicError = {}
        self.duty = 0.0
        self.busy_since = 0.0
        self._pool = pool
        self._door = Door(environment(pool))
        self._good: set[Ask] = set()
        self._asks: list[Ask] = []
        self._work = threading.Semaphore(0)
        self._duty_at = 0.0
        threading.Thread(target=self._run, daemon=True).start()

    def begin(self, asks: list[Ask]) -> None:
        """Ask; a byte is in `done` when there is an answer."""
        self.busy_since = time.monotonic()
        self._asks = asks
        self._work.release()

    def close(self) -> None:
        """Kill the child."""
        self._door.close()

    def _run(self) -> None:
        while True:
            self._work.acquire()
            try:
                self.answer = self._ask()
            except HTCMagicError as error:
                self.answer = error
                self._door.close()  # the next one reads configuration and address anew
            except Exception as error:  # noqa: BLE001 - whatever it is, views must hear of it
                self.answer = HTCMagicError(f"The feed stumbled: {error}.")
                self._door.close()
            self._tell.send(b".")
            if time.monotonic() > self._duty_at and isinstance(self.answer, dict):
                self._duty_at = time.monotonic() + DUTY_EVERY_S
                with contextlib.suppress(HTCMagicError):
                    self.duty = float(self._call("feed_duty"))

    def _ask(self) -> dict[str, Any]:
        self._call("feed_attend", parent=os.getpid())
        refused: dict[Ask, HTCMagicError] = {}
        for ask in self._asks:
            try:
                if ask not in self._good:
                    self._call("feed_look", ask=ask)
            except CellError as error:
                refused[ask] = error
        good = [ask for ask in self._asks if ask not in refused]
        self._good = set(good)
        told: dict[str, Any] = self._call("feed", asks=good) if good else {"news": [], "took_s": 0.0}
        return {**told, "asks": good, "refused": refused}

    def _call(self, operation: str, **arguments: Any) -> Any:
        return self._door.call(operation, self._pool, GIVE_UP_S, arguments)


class Feed:
    """Hears subscribers, has the schedd asked, and tells each what it wants to know."""

    def __init__(self, listener: socket.socket, pool: Pool) -> None:
        self._listener = listener
        self._asker = Asker(pool)
        self._eyes = selectors.DefaultSelector()
        self._eyes.register(listener, selectors.EVENT_READ)
        self._eyes.register(self._asker.done, selectors.EVENT_READ)
        self._subscribers: list[Subscriber] = []
        self._rows: dict[Ask, dict[Ids, Row]] = {}
        self._sign = Sign(0.0, SHORTEST_S)
        self._period_s = SHORTEST_S
        self._took_s = 0.0
        self._due = 0.0
        self._asked = -SHORTEST_S
        self._lonely = time.monotonic()

    def run(self) -> None:
        """Work until nobody has been there for a while."""
        while self._subscribers or time.monotonic() - self._lonely < LINGER_S:
            for key, events in self._eyes.select(self._until_next()):
                if key.fileobj is self._listener:
                    self._welcome()
                elif key.fileobj is self._asker.done:
                    self._asker.done.recv(1)
                    self._spread()
                else:
                    self._serve(key.data, events)
            self._move_on()
        self._asker.close()

    def _until_next(self) -> float:
        now = time.monotonic()
        if not self._subscribers:
            return max(0.0, self._lonely + LINGER_S - now)
        if self._asker.busy_since:
            return 1.0
        return max(0.0, min(self._due - now, 60.0))

    def _move_on(self) -> None:
        """Ask if it is time; say so if the schedd takes long."""
        now, since = time.monotonic(), self._asker.busy_since
        if since:
            if now - since > max(SLOW_S, 3 * self._took_s) and not self._sign.trouble:
                self._trouble("The schedd does not answer.")
            return
        asks = list(dict.fromkeys(each.ask for each in self._subscribers if each.ask is not None))
        if asks and now >= self._due:
            self._asked = now
            self._asker.begin(asks)

    # subscribers

    def _welcome(self) -> None:
        peer, _ = self._listener.accept()
        if not is_ours(peer):
            peer.close()
            return
        peer.settimeout(0)
        one = Subscriber(peer)
        self._subscribers.append(one)
        self._eyes.register(peer, selectors.EVENT_READ, one)

    def _serve(self, one: Subscriber, events: int) -> None:
        try:
            if events & selectors.EVENT_READ:
                told = one.peer.recv(1 << 16)
                if not told:
                    self._dismiss(one)
                    return
                one.heard += told
                self._hear(one)
            if events & selectors.EVENT_WRITE and one in self._subscribers:
                self._push(one)
        except BlockingIOError:
            return
        except (OSError, ValueError, TypeError, pickle.UnpicklingError, EOFError, AttributeError):
            self._dismiss(one)

    def _hear(self, one: Subscriber) -> None:
        """Take in a question: the last one counts."""
        while len(one.heard) >= HEADER.size:
            (length,) = HEADER.unpack_from(one.heard)
            if length > LONGEST_QUESTION:
                raise ValueError(length)
            end = HEADER.size + length
            if len(one.heard) < end:
                return
            ask = pickle.loads(one.heard[HEADER.size : end])  # noqa: S301 - from a process of this user
            del one.heard[:end]
            one.ask, one.begun = Ask(*ask), False
            if one.ask in self._rows:
                self._begin(one)
            else:
                self._due = min(self._due, self._asked + SHORTEST_S)  # ten views that open together are one query
                self._say(one, self._sign)

    def _dismiss(self, one: Subscriber) -> None:
        if one in self._subscribers:
            self._subscribers.remove(one)
            self._eyes.unregister(one.peer)
            one.peer.close()
            self._lonely = time.monotonic()
            wanted = {each.ask for each in self._subscribers}
            self._rows = {ask: rows for ask, rows in self._rows.items() if ask in wanted}

    # answers

    def _spread(self) -> None:
        """Tell the subscribers what the schedd has answered."""
        answer, self._asker.busy_since = self._asker.answer, 0.0
        if isinstance(answer, HTCMagicError):
            self._period_s = min(pace(self._period_s, changed=not self._sign.trouble), LONGEST_DOWN_S)
            self._trouble(answer.message)
            new = False
        else:
            self._answered(answer)
            new = any(each.ask is not None and not each.begun for each in self._subscribers)
        self._due = time.monotonic() + (SHORTEST_S if new else self._period_s)

    def _answered(self, answer: dict[str, Any]) -> None:
        changed = any(answer["news"])
        healed = bool(self._sign.trouble)
        self._took_s = answer["took_s"]
        self._period_s = pace(self._period_s, changed=changed or healed, took_s=answer["took_s"], duty=self._asker.duty)
        news = dict(zip(answer["asks"], answer["news"], strict=True))
        for ask, what in news.items():
            self._apply(ask, what)
        if news:
            skew = answer["skew_s"]
            skew = self._sign.skew_s if skew is None else skew
            self._sign = Sign(time.time(), self._period_s, "", skew, answer["label"], answer["me"])
        for each in list(self._subscribers):
            if each.ask in answer["refused"]:
                self._say(each, Refused(answer["refused"][each.ask]))
                each.ask = None
            elif each.ask in news:
                what = news[each.ask]
                if not each.begun:
                    self._begin(each)
                else:
                    self._say(each, self._sign)
                    for piece in what.pieces() if what is not None else ():
                        self._say(each, piece)

    def _apply(self, ask: Ask, what: News | None) -> None:
        rows = self._rows.setdefault(ask, {})
        if what is not None:
            if what.whole:
                rows.clear()
            rows.update(((row[0], row[1]), row) for row in what.rows)
            for ids in what.gone:
                rows.pop(ids, None)

    def _begin(self, one: Subscriber) -> None:
        assert one.ask is not None  # noqa: S101
        one.begun = True
        self._say(one, self._sign)
        for piece in News(whole=True, rows=list(self._rows[one.ask].values()), gone=[]).pieces():
            self._say(one, piece)

    def _trouble(self, words: str) -> None:
        self._sign = Sign(self._sign.seen, self._period_s, words, self._sign.skew_s, self._sign.label, self._sign.me)
        for each in list(self._subscribers):
            self._say(each, self._sign)

    def _say(self, one: Subscriber, message: Message) -> None:
        body = pickle.dumps(message, protocol=5)
        one.to_say += HEADER.pack(len(body)) + body
        try:
            self._push(one)
        except OSError:
            self._dismiss(one)

    def _push(self, one: Subscriber) -> None:
        """Send what the other end takes; the rest when it takes more."""
        with contextlib.suppress(BlockingIOError):
            while one.to_say:
                del one.to_say[: one.peer.send(one.to_say[: 1 << 18])]
        if len(one.to_say) > LONGEST_BACKLOG:
            self._dismiss(one)
            return
        self._eyes.modify(one.peer, selectors.EVENT_READ | (selectors.EVENT_WRITE if one.to_say else 0), one)


def main(path: Path, pool: Pool) -> int:
    """Become the feed of a pool, unless there is one."""
    if os.fork():  # nobody waits for us
        os._exit(0)
    os.setsid()
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    lock = _locked(path.with_name(f"{path.name}.lock"))
    if lock is None:
        return 0
    listener = socket.socket(socket.AF_UNIX)
    try:
        path.unlink(missing_ok=True)
        listener.bind(str(path))
        listener.listen(64)
        Feed(listener, pool).run()
    finally:
        path.unlink(missing_ok=True)
        listener.close()
        Path(lock.name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # others' feeds are in there
            path.parent.rmdir()
            if path.parent.parent.name.startswith("htcmagic-"):
                path.parent.parent.rmdir()
        lock.close()
    return 0


def _locked(file: Path) -> Any:
    """Return the held lock; None if another feed has it."""
    while True:
        lock = file.open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            return None
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock.fileno()), file.stat()):  # and not one that was just deleted
                return lock
        lock.close()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Pool(**json.loads(sys.argv[2]))))
