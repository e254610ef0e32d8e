"""What notebooks and the feed say to each other: one question a subscriber, rows and signs of life as answers."""

from __future__ import annotations

import hashlib
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeAlias

from htcmagic import places
from htcmagic.errors import HTCMagicError
from htcmagic.pool.address import Pool

SHORTEST_S, LONGEST_S = 2.0, 15.0
"""Time between two questions to the schedd: while something happens, and when nothing has for a while."""
PIECE = 2000
"""Rows in one message: 5 ms to unpickle."""
Row: TypeAlias = tuple[object, ...]
Ids: TypeAlias = tuple[object, object]


class Ask(NamedTuple):
    """What one view wants to know of a queue.

    Attributes
    ----------
    constraint : str
        A ClassAd expression.
    projection : tuple of str
        Attributes wanted; the first two are ``ClusterId`` and ``ProcId``.
    my_jobs : bool
        Only our own, as condor_q does by default.
    without : tuple of (first, last)
        Clusters that are not wanted, since they are followed by their logs.
    """

    constraint: str
    projection: tuple[str, ...]
    my_jobs: bool = False
    without: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class News:
    """What has changed in the jobs that a view wants.

    Attributes
    ----------
    whole : bool
        These are all rows there are; else those that are new or changed.
    rows : list of tuple
        In the order of the projection.
    gone : list of (cluster, proc)
        Jobs that are no longer there.
    more : bool
        The rest follows: a kernel stands still while it unpickles a message, so none is large.
    """

    whole: bool
    rows: list[Row]
    gone: list[Ids]
    more: bool = False

    def pieces(self) -> Iterator[News]:
        """Yield the same in messages of a bearable size."""
        for at in range(0, max(len(self.rows), 1), PIECE):
            rows, last = self.rows[at : at + PIECE], at + PIECE >= len(self.rows)
            yield News(self.whole and not at, rows, self.gone if last else [], more=not last)


@dataclass(frozen=True, slots=True)
class Sign:
    """A sign of life.

    Attributes
    ----------
    seen : float
        When the schedd has answered last; 0 if it never has. Seconds since 1970 by this machine's clock.
    period_s : float
        Until it is asked again.
    trouble : str
        Why there is no newer answer; empty if all is well.
    skew_s : float
        How far the schedd's clock is ahead of this machine's.
    label, me : str
        The schedd's name as condor_q prints it, and who we are there.
    """

    seen: float
    period_s: float
    trouble: str = ""
    skew_s: float = 0.0
    label: str = ""
    me: str = ""


class Refused(NamedTuple):
    """The question makes no sense."""

    error: HTCMagicError


Message: TypeAlias = News | Sign | Refused


def socket_file(pool: Pool) -> Path:
    """Return where the feed of a pool listens: one for each way in which this user sees it.

    One for each htcmagic, too: this file's place and age stand for what it says.
    """
    named = ("CONDOR", "_CONDOR_", "KRB5CCNAME", "BEARER_TOKEN", "XDG_RUNTIME_DIR", "X509_USER_PROXY")
    seen = [] if pool.personal else sorted(f"{k}={v}" for k, v in os.environ.items() if k.upper().startswith(named))
    here = Path(__file__)
    parts = [str(here), str(here.stat().st_mtime_ns), *pool.key, str(pool.personal), *seen]
    tag = hashlib.sha256(os.fsencode("\0".join(parts))).hexdigest()[:12]
    return places.feed_dir() / tag


def is_ours(peer: socket.socket) -> bool:
    """Whether a process of this very user is at the other end of a Unix socket."""
    _, uid, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return bool(uid == os.getuid())


def ranges(clusters: list[int]) -> tuple[tuple[int, int], ...]:
    """Return cluster ids as first and last of what is consecutive."""
    found: list[tuple[int, int]] = []
    for number in sorted(set(clusters)):
        if found and found[-1][1] == number - 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return tuple(found)


def among(spans: tuple[tuple[int, int], ...]) -> str:
    """Return an expression that is true for the jobs of these clusters."""
    parts = [f"ClusterId == {a}" if a == b else f"(ClusterId >= {a} && ClusterId <= {b})" for a, b in spans]
    return " || ".join(parts) or "false"
