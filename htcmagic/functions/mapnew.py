"""A new map: its calls are packed and written, then its jobs are sent; all of it or nothing."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from htcmagic.errors import CellError, HTCMagicError
from htcmagic.functions import mapitems, maplate, memo, payload, tags
from htcmagic.functions import place as places_of_python
from htcmagic.functions.maprun import KEY_BYTES, Run
from htcmagic.functions.remote.records import Record
from htcmagic.functions.tags import MapDir, unwritable

WHERE = ("python", "container", "stack", "kernel", "ship_env")
"""Words that say where Python comes from."""
Late = list[tuple[int, tuple[Any, ...], list[Future[Any]]]]


@dataclass(frozen=True, slots=True)
class Options:
    """What a user says beside function and items."""

    tag: str | None
    chunk: int | str
    overwrite: bool
    cache: bool
    submit: dict[str, Any]


def make(
    func: Callable[..., Any], iterables: Sequence[Iterable[Any]], options: Options, replace: Callable[[MapDir], None]
) -> Run:
    """Make a map and send its jobs; on failure nothing is left of it.

    Parameters
    ----------
    replace : callable
        Removes an earlier map.

    Raises
    ------
    CellError
        A tag, an option, the function or an item cannot be used.
    PoolError
        Nobody takes the jobs.
    """
    wanted = None if options.tag is None else tags.checked(options.tag)
    if wanted is not None and not options.overwrite and MapDir.of(wanted) is not None:
        raise _taken(wanted)
    told = _told(options)
    function = payload.function(func)
    told |= {"function": function.name, "label": function.label}
    keys = memo.Keys(func, environment=_environment(told["where"])) if options.cache else None
    packer = mapitems.Packer(func, function.name, keys)
    folder = MapDir.staged()
    try:
        folder.function_file.write_bytes(function.data)
        count, ready, late = _pack(folder, packer, mapitems.calls(iterables))
        folder.save(told | {"count": count})
        _name(folder, wanted, function.label, replace if options.overwrite else None)
        run = Run(folder)
        run.take_local()
        run.late = {item for item, _, _ in late}
        if ready:
            run.send(ready)
    except BaseException as error:
        if not Run.was_sent(folder):
            folder.discard()
        if isinstance(error, OSError) and not isinstance(error, HTCMagicError):
            raise unwritable(folder.path, error) from None
        raise
    if late:
        maplate.wait(run, packer, late)
    return run


def _told(options: Options) -> dict[str, Any]:
    chunk = options.chunk
    if chunk != "auto" and (not isinstance(chunk, int) or isinstance(chunk, bool) or chunk < 1):
        raise CellError(f"chunk={chunk!r} is no number of items.", hint='For example: chunk=100, or chunk="auto"')
    submit = dict(options.submit)
    where = {name: submit.pop(name) for name in WHERE if name in submit}
    inputs = submit.pop("inputs", ())
    names = [inputs] if isinstance(inputs, str | Path) else list(inputs)
    for name in names:
        if "://" not in str(name) and not Path(name).expanduser().exists():
            raise CellError(f"inputs: there is no file {str(name)!r}.")
    max_idle = submit.pop("max_idle", None)
    return {
        "kind": "map",
        "born": secrets.token_hex(8),
        "created": time.time(),
        "chunk": chunk,
        "cached": options.cache,
        "submit": places_of_python.defaults() | resources(submit),
        "where": {name: value if isinstance(value, bool) else str(value) for name, value in where.items() if value},
        "inputs": [str(n) if "://" in str(n) else str(Path(n).expanduser().absolute()) for n in names],
        "directory": "",
        "max_idle": max_idle,
        "legs": [],
    }


def resources(submit: dict[str, Any]) -> dict[str, str]:
    """Return submit commands as HTCondor spells them."""
    found = places_of_python.resources(**submit)
    if "transfer_input_files" in found:
        raise CellError("transfer_input_files is used for the work itself.", hint="Name files as inputs=[…].")
    return found


def _environment(where: dict[str, Any]) -> str:
    return json.dumps(where, sort_keys=True) if where else ""


def _pack(folder: MapDir, packer: mapitems.Packer, calls: Iterable[tuple[Any, ...]]) -> tuple[int, list[int], Late]:
    """Write all calls; return how many there are, which can be sent, and which wait for inputs."""
    ready: list[int] = []
    late: Late = []
    hits: list[tuple[int, Record]] = []
    count = 0
    with folder.tasks_file.open("wb") as stream, (folder.path / "keys").open("wb") as keys:
        for item, args in enumerate(calls):
            count = item + 1
            if futures := mapitems.inputs(args):
                late.append((item, args, futures))
                continue
            hit = _write(stream, keys, packer, item, args)
            if hit is None:
                ready.append(item)
            else:
                hits.append((item, hit))
    if hits:
        mapitems.keep(folder.results_dir / "cached", hits)
    return count, ready, late


def _write(
    stream: IO[bytes], keys: IO[bytes], packer: mapitems.Packer, item: int, args: tuple[Any, ...]
) -> Record | None:
    key, hit = packer.write(stream, item, args)
    if key:
        keys.seek(item * KEY_BYTES)
        keys.write(bytes.fromhex(key))
    return hit


def _name(folder: MapDir, wanted: str | None, label: str, replace: Callable[[MapDir], None] | None) -> None:
    if wanted is None:
        for tag in tags.automatic(label):
            if folder.take(tag):
                return
    assert wanted is not None  # noqa: S101 - there is no end to made up ones
    old = MapDir.of(wanted)
    if old is not None and replace is not None:
        replace(old)
    if not folder.take(wanted):
        raise _taken(wanted)


def _taken(tag: str) -> HTCMagicError:
    return HTCMagicError(
        f"There is a map {tag!r} already.",
        hint=f"Its results: htcmagic.load({tag!r}). To run it anew and lose them: overwrite=True",
    )


def by_cluster(name: str) -> tuple[MapDir | None, Any]:
    """Look among all that was sent for a map, or for a cell's run, of this cluster id, batch or run name."""
    from htcmagic.jobs import store  # noqa: PLC0415 - may read many records

    for cluster in store.clusters(name, limit=20):
        try:
            told = json.loads((cluster.run_dir.path / "python.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if told.get("kind") == "map":
            return MapDir.of(str(told["tag"])), None
        if told.get("kind") == "cell":
            from htcmagic.functions import cellrun  # noqa: PLC0415

            return None, cellrun.found(cluster.run_dir, cluster)
    return None, None
