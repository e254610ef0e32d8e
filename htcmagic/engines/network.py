"""Where an engine listens: this machine's own address for the personal pool, else the one that leads to the pool."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import socket

from htcmagic.errors import CellError
from htcmagic.pool.client import Client

FIRST_PORT, SPACING, USERS = 21000, 100, 200
"""Each user has so many ports of their own, from the first on."""
LOOPBACK = "127.0.0.1"
SINFUL = re.compile(r"<?\[?([0-9A-Fa-f.:]+?)\]?:(\d+)")


def address(client: Client) -> str:
    """Return the address of this machine that a pool's machines can reach: the one from which we reach its schedd."""
    if client.pool.personal:
        return LOOPBACK
    schedd = client.schedd
    for told in (schedd.collector, schedd.address):
        if found := _toward(told):
            return found
    return socket.getfqdn()


def _toward(told: str) -> str:
    """Return the address by which this machine would talk to another; nothing is sent."""
    found = SINFUL.match(told.partition("?")[0])
    host, port = (found[1], int(found[2])) if found else (told.partition(":")[0], 9618)
    if not host:
        return ""
    try:
        kind, _, _, _, there = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(kind, socket.SOCK_DGRAM) as asking:
            asking.connect(there)
            return str(asking.getsockname()[0])
    except OSError:
        return ""


def usable(option: str, host: str, client: Client) -> None:
    """Make sure that an address leads from other machines to this one, as far as that can be known here.

    Raises
    ------
    CellError
        It does not.
    """
    if client.pool.personal or host in {"", "*"}:
        return
    try:
        found = {str(one[4][0]) for one in socket.getaddrinfo(host, None)}
    except OSError:
        raise CellError(
            f"{option}: there is no machine {host}.", hint=f"This one, seen from the pool: {address(client)}"
        ) from None
    own = address(client)
    if all(ipaddress.ip_address(each.partition("%")[0]).is_loopback for each in found) and own != LOOPBACK:
        raise CellError(
            f"{option}: at {host} each machine reaches itself, and not this one.",
            hint=f"This one, seen from the pool: {own}",
        )


def ports() -> tuple[int, int]:
    """Return the first port that is this user's, and the first that is not."""
    first = FIRST_PORT + os.getuid() % USERS * SPACING
    return first, first + SPACING


def check(name: str, wanted: tuple[int, int] | None, needed: int, host: str) -> list[int]:
    """Return so many free ports of a range.

    Raises
    ------
    CellError
        There are less.
    """
    free: list[int] = []
    for port in range(*(wanted or (0, 0))):
        with socket.socket() as trial, contextlib.suppress(OSError):
            trial.bind((host, port))
            free.append(port)
        if len(free) >= needed:
            return free
    if wanted is None:
        return free
    raise CellError(
        f"{name} = {wanted}: {len(free) or 'none'} of these ports {'is' if len(free) < 2 else 'are'} free, {needed} "
        f"{'is' if needed == 1 else 'are'} needed.",
        hint=f"Give another range: {name}=({wanted[1]}, {wanted[1] + SPACING})",
    )
