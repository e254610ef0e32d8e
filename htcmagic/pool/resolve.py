"""Which pool: what the user named, HTCondor's own configuration, the personal pool, in this order."""

from __future__ import annotations

import contextlib
import os
import pwd
from collections.abc import Callable
from pathlib import Path

from htcmagic.errors import HTCMagicError, NotAuthorised, PoolError, ScheddUnreachable
from htcmagic.pool import personal
from htcmagic.pool.address import Pool
from htcmagic.pool.client import ANSWER_S, Client, Door, client

Report = Callable[[str], None]
COLLECTORS = frozenset({"_CONDOR_COLLECTOR_HOST", "_CONDOR_CONDOR_HOST"})

_chosen: Pool | None = None
_configured: dict[tuple[tuple[str, str], ...], Pool | None] = {}


def choose(pool: Pool | None) -> None:
    """Set the pool for the rest of this session; None to decide anew."""
    global _chosen  # noqa: PLW0603
    _chosen = pool
    if pool is None:
        _configured.clear()


def resolve(schedd: str = "", collector: str = "", *, report: Report = lambda _line: None) -> Pool:
    """Decide which pool is meant; a personal pool is started when nothing else is there.

    Parameters
    ----------
    schedd, collector : str
        What the user named in this very command, as with ``condor_q -name`` and ``-pool``.
    report : callable
        Gets one line when a personal pool is started, more when HTCondor has to be installed first.

    Raises
    ------
    ScheddUnreachable, NotAuthorised
        A schedd is named or configured and does not answer: that is never passed over in silence.
    """
    if schedd or collector:
        if schedd == "personal":
            return personal_pool(report)
        return Pool(schedd, collector, origin="named in the command")
    if _chosen is not None:
        return _chosen
    site = configured()
    if site is not None:
        _must_answer(site)
        return site
    if personal.stays_down():
        raise PoolError("You have stopped the personal pool.", hint="Start it again: %condor_pool up")
    return personal_pool(report)


def connect(schedd: str = "", collector: str = "", *, report: Report = lambda _line: None) -> Client:
    """Return a client of the pool that :func:`resolve` decides on."""
    return client(resolve(schedd, collector, report=report))


def personal_pool(report: Report = lambda _line: None) -> Pool:
    """Return this user's personal pool, started if it was not up."""
    personal.up(report)
    return Pool(config=str(personal.config_file()), origin="personal pool", personal=True)


def configured() -> Pool | None:
    """Return the pool that HTCondor's own configuration names; None if it names no schedd.

    The configuration is looked for where HTCondor does: ``$CONDOR_CONFIG``, ``/etc/condor``, the home of a user
    named condor, and ``$_CONDOR_*`` (HTCondor manual, "Introduction to Configuration").
    """
    settings = {k: v for k, v in os.environ.items() if k.upper().startswith(("_CONDOR_", "CONDOR_CONFIG"))}
    where = _configuration_source(settings)
    if not where:
        return None
    key = (("", where), *sorted(settings.items()))
    if key not in _configured:
        _configured[key] = _ask_configuration(where, settings)
    return _configured[key]


def _configuration_source(settings: dict[str, str]) -> str:
    if settings.get("CONDOR_CONFIG"):
        if settings["CONDOR_CONFIG"] == str(personal.config_file()):
            return ""
        return f"$CONDOR_CONFIG ({settings['CONDOR_CONFIG']})"
    places = [Path("/etc/condor/condor_config"), Path("/usr/local/etc/condor_config")]
    with contextlib.suppress(KeyError):
        places.append(Path(pwd.getpwnam("condor").pw_dir) / "condor_config")
    for place in places:
        if place.is_file():
            return str(place)
    named = [name for name in settings if name.upper() in {"_CONDOR_SCHEDD_HOST", *COLLECTORS}]
    return f"${named[0]}" if named else ""


def _ask_configuration(where: str, settings: dict[str, str]) -> Pool | None:
    path = settings.get("CONDOR_CONFIG", "")
    if path and path != "ONLY_ENV" and not Path(path).is_file():
        raise HTCMagicError(
            f"$CONDOR_CONFIG names {path}, which does not exist.",
            hint="Mend it, or unset it: del os.environ['CONDOR_CONFIG']",
        )
    has_file = bool(path) or where.startswith("/")
    env = dict(os.environ) if has_file else {**os.environ, "CONDOR_CONFIG": "ONLY_ENV"}
    door = Door(env)
    try:
        told = door.call("configured", None, ANSWER_S, {})
    except PoolError as error:
        raise HTCMagicError(
            f"HTCondor's configuration by {where} cannot be read: {error.message}",
            hint="Mend that, or use a pool on this machine: %condor_pool up",
        ) from None
    finally:
        door.close()
    host = told["schedd_host"]
    config = path if has_file else "ONLY_ENV"
    by_env = next((name for name in settings if name.upper() == "_CONDOR_SCHEDD_HOST"), "")
    origin = f"${by_env}" if by_env else where
    if host:
        collector = told["collector_host"] if any(name.upper() in COLLECTORS for name in settings) else ""
        return Pool(host, collector, config=config, origin=origin)
    if told["runs_schedd"] or told["address_file"]:
        return Pool(config=config, origin=origin)
    return None


def _must_answer(site: Pool) -> None:
    try:
        _ = client(site).schedd
    except (ScheddUnreachable, NotAuthorised) as error:
        kind = NotAuthorised if isinstance(error, NotAuthorised) else ScheddUnreachable
        told = error.message if site.origin in error.message else f"{error.message} It was named by {site.origin}."
        raise kind(
            told,
            hint="Mend that, wait for it, or use a pool on this machine: %condor_pool up",
            transient=error.transient,
        ) from None
