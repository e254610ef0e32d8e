"""What engines do where notebook and workers are on two hosts: ``python twohosts_engines.py SCENE FOLDER``."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twohosts import ELSEWHERE, two_hosts, until

import htcmagic
from htcmagic.errors import HTCMagicError
from htcmagic.pool.resolve import connect

PARSL = {"memory_gb": 0.2, "request_disk": "50MB"}
SMALL = {"memory": "200MB", "disk": "50MB"}


def where():  # by value, as it is in __main__
    """Return the address of the host that this runs on."""
    import subprocess

    words = subprocess.run(["ip", "-4", "-o", "address"], capture_output=True, text=True, check=True).stdout.split()
    return next(word.partition("/")[0] for word in words if word.startswith("10.77."))


def left() -> int:
    return len(connect().query("true", ["ClusterId"]).rows)


def parsl() -> Any:
    """Run a call, and a file that only the notebook's host has."""
    import parsl

    config = htcmagic.engines.parsl(**PARSL)
    parsl.load(config)
    executor = config.executors[0]
    found = [parsl.python_app(where)().result(90), executor.address, executor.encrypted]
    parsl.dfk().cleanup()
    return [*found, left()]


def dask() -> Any:
    """Run a call over TLS."""
    cluster = htcmagic.engines.dask(1, **SMALL)
    found = [cluster.client.submit(where).result(60), cluster.scheduler_address.rpartition(":")[0]]
    cluster.close()
    return [*found, left()]


def ipyparallel() -> Any:
    """Run a call over CurveZMQ."""
    rc = htcmagic.engines.ipyparallel(1, **SMALL)
    found = [rc[:].apply_sync(where), bool(rc.curve_serverkey)]
    rc.engine.stop()
    return [*found, left()]


def executor() -> Any:
    """Run a call without any port."""
    with htcmagic.Executor(workers=1, **SMALL) as ex:
        found = ex.submit(where).result(60)
    until(lambda: not left())
    return [found, left()]


def wrong_for_parsl() -> Any:
    """Name an address that workers do not reach: all calls fail with the reason, and no block stays or follows."""
    import parsl

    config = htcmagic.engines.parsl(blocks=8, address=ELSEWHERE, **PARSL)
    parsl.load(config)
    try:
        parsl.python_app(where)().result(90)
    except Exception as error:  # noqa: BLE001 - Parsl's
        told = str(error)
    until(lambda: config.engine.ended and not left())
    return [told, config.engine.ends[0], left()]


def wrong_for_dask() -> Any:
    cluster = htcmagic.engines.dask(8, scheduler_options={"host": ELSEWHERE}, **SMALL)
    until(lambda: cluster.engine.ended and not left())
    return [cluster.status.name, cluster.engine.ends[0], left()]


def wrong_for_ipyparallel() -> Any:
    begun = time.monotonic()
    try:
        htcmagic.engines.ipyparallel(8, controller_ip=ELSEWHERE, **SMALL)
    except HTCMagicError as error:
        return [error.message, time.monotonic() - begun < 60, left()]
    return ["", False, left()]


def loopback() -> Any:
    """Name an address that no other machine can reach: nothing is sent."""
    told = []
    for begin in (
        lambda: htcmagic.engines.parsl(address="127.0.0.1"),
        lambda: htcmagic.engines.dask(scheduler_options={"host": "localhost"}),
        lambda: htcmagic.engines.ipyparallel(controller_ip="127.0.0.1"),
        lambda: htcmagic.engines.parsl(address="no.such.machine.invalid"),
    ):
        try:
            begin()
        except HTCMagicError as error:
            told.append([error.message, error.hint])
    return [told, left()]


SCENES: dict[str, Callable[[], Any]] = {
    each.__name__: each
    for each in (
        parsl,
        dask,
        ipyparallel,
        executor,
        wrong_for_parsl,
        wrong_for_dask,
        wrong_for_ipyparallel,
        loopback,
    )
}

if __name__ == "__main__":
    scene, scratch = sys.argv[1], Path(sys.argv[2])
    with two_hosts(scratch):
        print("=>", json.dumps(SCENES[scene]()), flush=True)
