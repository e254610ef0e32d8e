"""Numbers, ids and times in words."""

from __future__ import annotations

import time
from collections.abc import Mapping

from htcmagic.jobs.display import clean, elapsed
from htcmagic.jobs.model import JobId
from htcmagic.queue.why.model import Group

SUBMIT_WORDS = {
    "cpus": "request_cpus",
    "memory": "request_memory",
    "disk": "request_disk",
    "gpus": "request_gpus",
}
LONGEST_NAME = 60


def amount(resource: str, value: float) -> str:
    """Return so much of a resource, for people; memory is given in MiB and disk in KiB, as HTCondor has them.

    Examples
    --------
    >>> amount("Memory", 194560), amount("Disk", 1048576), amount("Cpus", 1), amount("Fpgas", 2)
    ('190 GB', '1 GB', '1 core', '2 Fpgas')
    """
    kind = resource.lower()
    if kind == "memory":
        return size(value)
    if kind == "disk":
        return size(value / 1024)
    noun = {"cpus": "core", "gpus": "GPU"}.get(kind)
    if noun is None:
        return f"{value:g} {resource}"
    return f"{value:,g} {noun}{'' if value == 1 else 's'}"


def size(mib: float) -> str:
    """Return a size in the units of the submit language, where 1 GB is 1024 MB."""
    if 0 < mib < 1:
        return "less than 1 MB"
    for limit, unit in ((1024, "MB"), (1024**2, "GB"), (1024**3, "TB")):
        if mib < limit or unit == "TB":
            value = mib / (limit / 1024)
            return f"{value:.0f} {unit}" if value >= 100 or value == int(value) else f"{value:.3g} {unit}"
    raise AssertionError


def request(resource: str, value: float) -> str:
    """Return the submit line that asks for so much.

    Examples
    --------
    >>> request("Memory", 65536), request("Memory", 1536), request("Cpus", 4)
    ('request_memory = 64GB', 'request_memory = 1536MB', 'request_cpus = 4')
    """
    word = SUBMIT_WORDS.get(resource.lower(), f"request_{resource}")
    kind = resource.lower()
    if kind in {"memory", "disk"}:
        mib = int(value if kind == "memory" else value // 1024)
        return f"{word} = {mib // 1024}GB" if mib % 1024 == 0 and mib else f"{word} = {mib}MB"
    return f"{word} = {value:g}"


def resource_name(resource: str) -> str:
    """Return what a resource is called in a sentence."""
    return {"cpus": "cores", "gpus": "GPUs"}.get(resource.lower(), resource.lower())


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def subject(group: Group) -> str:
    """Name the jobs of a group, so that a sentence can begin with it."""
    name = group.text("JobBatchName")
    title = f" ({clean(name, LONGEST_NAME)})" if name else ""
    if group.count == 1:
        return f"Job {group.jobs[0]}{title}"
    if len(group.clusters) == 1:
        (cluster,) = group.clusters
        return f"{group.count:,} jobs of cluster {cluster}{title}"
    return f"{group.count:,} jobs of clusters {listed(sorted(group.clusters))}"


def listed(things: list[int] | list[str], most: int = 5) -> str:
    """Return some of a list in words."""
    shown = [str(thing) for thing in things[:most]]
    left = len(things) - len(shown)
    if left:
        return f"{', '.join(shown)} and {left:,} more"
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def be(group: Group) -> str:
    """Return the verb."""
    return "is" if group.count == 1 else "are"


def opened(group: Group, sentence: str) -> str:
    """Return a sentence on one job as a sentence on each of a group."""
    if group.count == 1:
        return sentence
    for one, many in (("it ", "each "), ("its ", "their ")):
        if sentence.startswith(one):
            return many + sentence.removeprefix(one)
    return sentence


def ago(seconds: float | None) -> str:
    """Return how long ago."""
    return "" if seconds is None else f"{elapsed(seconds)} ago"


def clock(epoch_s: float) -> str:
    """Return a time of day, with the date if it is another day's."""
    try:
        then = time.localtime(epoch_s)
    except (ValueError, OverflowError, OSError):
        return "an impossible time"
    same = then[:3] == time.localtime()[:3]
    return time.strftime("%H:%M:%S" if same else "%Y-%m-%d %H:%M:%S", then)


def selection(jobs: tuple[JobId, ...], count: int, clusters: Mapping[int, int]) -> list[str]:
    """Return how commands name these jobs: ids if they are few, else clusters."""
    if count == len(jobs) and count <= 4:
        return [str(job) for job in jobs]
    return [str(cluster) for cluster in sorted(clusters)]
