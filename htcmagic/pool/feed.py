"""A notebook's side of the feed: what a view wants of a queue, kept up to date by a thread that only reads a socket.

So a frozen schedd stalls nobody. The feed itself (:mod:`.feed_server`) is started by whoever needs it first; if it is
killed, the next one of its subscribers that notices starts another.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from htcmagic import places
from htcmagic.errors import HTCMagicError
from htcmagic.pool import wire
from htcmagic.pool.address import Pool
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
    socket_file,
)

START_S = 10.0
"""How long a feed may take to listen; 0.2 s were seen."""
START_AGAIN_S = 3.0
"""One that does not listen by then may have met another's end; where there is one, it changes nothing."""
AGAIN_S = (0.2, 5.0)
"""Shortest and longest pause before another feed is started."""
PERIODS = 3
"""So many periods without news, and what is known is stale."""


class Subscription:
    """Rows of a queue, as the feed tells them.

    Parameters
    ----------
    pool : Pool
        Whose schedd.
    ask : Ask
        Which jobs, and what of them.
    changed : callable
        Called in the subscription's thread with the ids of jobs that are new, changed or gone; with an empty set when
        only age or trouble have changed.
    """

    def __init__(self, pool: Pool, ask: Ask, changed: Callable[[set[Ids]], None]) -> None:
        self.pool = pool
        self.rows: dict[Ids, Row] = {}
        """By cluster and proc; replaced, never changed, so it may be read from any thread."""
        self.sign = Sign(0.0, SHORTEST_S)
        self.answered = False
        """Whether all rows have been told once."""
        self.refused: HTCMagicError | None = None
        self._ask = ask
        self._changed = changed
        self._lock = threading.Lock()
        self._peer: socket.socket | None = None
        self._closed = threading.Event()
        self._since = time.time()
        self._trouble = ""
        self._coming: dict[Ids, Row] | None = None

    def start(self) -> None:
        """Begin; returns at once."""
        threading.Thread(target=self._run, name="htcmagic-feed", daemon=True).start()

    def ask(self, ask: Ask) -> None:
        """Want something else from now on."""
        with self._lock:
            if ask != self._ask:
                self._ask = ask
                if self._peer is not None:
                    with contextlib.suppress(OSError):  # the reader notices, too, and asks anew
                        _send(self._peer, ask)

    def close(self) -> None:
        """End; may be called from `changed`."""
        self._closed.set()
        with self._lock:
            if self._peer is not None:
                with contextlib.suppress(OSError):
                    self._peer.shutdown(socket.SHUT_RDWR)

    @property
    def trouble(self) -> str:
        """Why there is no news; empty if all is well."""
        if self._trouble or self.sign.trouble:
            return self._trouble or self.sign.trouble
        silent_s = time.time() - (self.sign.seen or self._since)
        allowed_s = PERIODS * self.sign.period_s if self.sign.seen else LONGEST_S
        return "The schedd gives no news." if silent_s > allowed_s else ""

    def _run(self) -> None:
        pause_s = AGAIN_S[0]
        while not self._closed.is_set():
            try:
                self._listen()
                pause_s = AGAIN_S[0]
            except HTCMagicError as error:
                self._say(error.message)
            except (
                OSError,
                EOFError,
                subprocess.SubprocessError,
                pickle.UnpicklingError,
                AttributeError,
                ValueError,
            ) as error:
                if pause_s > AGAIN_S[0]:
                    self._say(f"The process that asks the schedd does not start ({error or type(error).__name__}).")
            self._closed.wait(pause_s)
            pause_s = min(2 * pause_s, AGAIN_S[1])

    def _say(self, trouble: str) -> None:
        self._trouble = trouble
        self._tell(set())

    def _tell(self, ids: set[Ids]) -> None:
        if not self._closed.is_set():
            self._changed(ids)

    def _listen(self) -> None:
        """Read what the feed says until it ends or we do."""
        peer = connect(self.pool)
        try:
            with self._lock:
                if self._closed.is_set():
                    return
                self._peer, self._coming = peer, None
                _send(peer, self._ask)
            with peer.makefile("rb") as stream:
                while not self._closed.is_set():
                    try:
                        message: Message = wire.read(stream)
                    except EOFError:
                        return
                    self._trouble = ""
                    self._take(message)
        finally:
            with self._lock:
                self._peer = None
            peer.close()

    def _take(self, message: Message) -> None:
        if isinstance(message, Sign):
            self.sign = message
            self._tell(set())
        elif isinstance(message, News):
            self._told(message)
        elif isinstance(message, Refused):
            self.refused = message.error
            self._tell(set())

    def _told(self, news: News) -> None:
        """Take in rows, when the last piece of them is there."""
        if news.whole or self._coming is None:
            self._coming = {} if news.whole else dict(self.rows)
        rows = self._coming
        rows.update(((row[0], row[1]), row) for row in news.rows)
        for gone in news.gone:
            rows.pop(gone, None)
        if not news.more:
            before, self.rows, self.answered, self._coming = self.rows, rows, True, None
            changed = {ids for ids, row in rows.items() if before.get(ids) is not row and before.get(ids) != row}
            self._tell(changed | (before.keys() - rows.keys()))


def connect(pool: Pool) -> socket.socket:
    """Return a connection to the pool's feed, which is started if there is none.

    Raises
    ------
    HTCMagicError
        Its folder cannot be made.
    OSError
        It does not start.
    """
    path = socket_file(pool)
    deadline = time.monotonic() + START_S
    start_at = 0.0
    while True:
        peer = socket.socket(socket.AF_UNIX)
        try:
            peer.connect(str(path))
            break
        except OSError:
            peer.close()
            if time.monotonic() > deadline:
                raise
        if time.monotonic() > start_at:
            _start(path, pool)
            start_at = time.monotonic() + START_AGAIN_S
        time.sleep(0.05)
    if not is_ours(peer):
        peer.close()
        raise HTCMagicError(f"{path} belongs to somebody else.", hint="Set HTCMAGIC_HOME to a folder of your own.")
    return peer


def _start(path: Path, pool: Pool) -> None:
    places.private(path.parent)
    about = json.dumps(asdict(pool))
    subprocess.run(
        [sys.executable, "-m", "htcmagic.pool.feed_server", str(path), about],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env=_environment(),
        timeout=START_S,
        check=False,
    )


def _environment() -> dict[str, str]:
    root = str(Path(__file__).parents[2])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))}


def _send(peer: socket.socket, ask: Ask) -> None:
    body = pickle.dumps(ask, protocol=5)
    peer.sendall(wire.HEADER.pack(len(body)) + body)
