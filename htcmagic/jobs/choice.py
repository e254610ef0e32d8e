"""Which jobs a command is meant for: the words of its line, as one constraint; never the job that we run in."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from htcmagic.errors import HTCMagicError
from htcmagic.jobs import naming
from htcmagic.jobs.cluster import Cluster
from htcmagic.jobs.model import JobId
from htcmagic.pool.address import Pool
from htcmagic.pool.client import Client

ID = re.compile(r"(\d+)(?:\.(\d+))?\Z")
USER = re.compile(r"[\w.@-]+\Z")
_OWN = re.compile(r"(?mi)^(ClusterId|ProcId|GlobalJobId)\s*=\s*\"?([^\"\n]+?)\"?\s*$")


@dataclass(frozen=True, slots=True)
class Target:
    """The jobs that one word means.

    Attributes
    ----------
    constraint : str
        A ClassAd expression that is true for them.
    job : JobId or None
        The one job, if it is one.
    cluster : int
        The cluster, if it is one; else 0.
    user : str
        Whose jobs, if they are somebody's.
    pool : Pool or None
        Where they are, if the word tells.
    """

    constraint: str
    job: JobId | None = None
    cluster: int = 0
    user: str = ""
    pool: Pool | None = None

    def __str__(self) -> str:
        if self.job is not None:
            return f"job {self.job}"
        return f"cluster {self.cluster}" if self.cluster else f"user {self.user}" if self.user else self.constraint

    def has(self, cluster: object, proc: object, user: object) -> bool:
        """Whether a job is one of them."""
        if self.job is not None:
            return (cluster, proc) == (self.job.cluster, self.job.proc)
        if self.cluster:
            return cluster == self.cluster
        if self.user:
            return str(user if "@" in self.user else str(user).partition("@")[0]).lower() == self.user.lower()
        return True


def target(word: str, namespace: Mapping[str, Any]) -> Target:
    """Return what a word means, the newest if it means several clusters; as :func:`targets`."""
    return targets(word, namespace)[-1]


def targets(word: str, namespace: Mapping[str, Any]) -> list[Target]:
    """Return what a word means: an id, a variable, ``scan[3]``, a batch name, or else a user.

    Raises
    ------
    HTCMagicError
        It can be none of these.
    """
    found = ID.match(word)
    if found:
        number = int(found[1])
        return [_cluster(number) if found[2] is None else _one(JobId(number, int(found[2])))]
    sent = naming.named(word, namespace)
    if sent:
        return [
            _cluster(one.id, one.record.pool) if isinstance(one, Cluster) else _one(one.id, one._cluster.record.pool)  # noqa: SLF001
            for one in sent
        ]
    if USER.match(word):
        return [Target(f'{"User" if "@" in word else "Owner"} == "{word}"', user=word)]
    raise HTCMagicError(
        f"{word} is no job id (17 or 17.3), cluster of yours or user's name.", hint="Put spaces between several."
    )


def pool_of(targets: Iterable[Target]) -> Pool | None:
    """Return where targets are; None if they do not tell.

    Raises
    ------
    HTCMagicError
        In several places.
    """
    pools = {each.pool.key: each.pool for each in targets if each.pool is not None}
    if len(pools) > 1:
        raise HTCMagicError(
            f"These jobs are in {len(pools)} different queues.", hint="One at a time: a line for each of them."
        )
    return next(iter(pools.values()), None)


def together(targets: Sequence[Target]) -> str:
    """Return a constraint for all of them."""
    procs: dict[int, list[int]] = {}
    for each in targets:
        if each.job is not None:
            procs.setdefault(each.job.cluster, []).append(each.job.proc)
    parts = [each.constraint for each in targets if each.job is None]
    for cluster, numbers in procs.items():
        some = " || ".join(f"ProcId == {proc}" for proc in sorted(set(numbers)))
        parts.append(f"ClusterId == {cluster} && ({some})")
    return " || ".join(f"({part})" for part in parts) if len(parts) > 1 else parts[0]


def own_job(client: Client) -> JobId | None:
    """Return the job of this schedd that this very process runs in; None if it runs in none."""
    for file in _job_ads():
        try:
            found = {name.lower(): text for name, text in _OWN.findall(file.read_text("utf-8", "replace"))}
            job = JobId(int(found["clusterid"]), int(found["procid"]))
        except (OSError, KeyError, ValueError):
            continue
        schedd = found.get("globaljobid", "").rpartition("#")[0].rpartition("#")[0]
        return job if not schedd or schedd == client.schedd.name else None
    return None


def _job_ads() -> list[Path]:
    named, scratch = os.environ.get("_CONDOR_JOB_AD"), os.environ.get("_CONDOR_SCRATCH_DIR")
    return [*([Path(named)] if named else []), *([Path(scratch) / ".job.ad"] if scratch else [])]


def _one(job: JobId, pool: Pool | None = None) -> Target:
    return Target(f"ClusterId == {job.cluster} && ProcId == {job.proc}", job=job, pool=pool)


def _cluster(number: int, pool: Pool | None = None) -> Target:
    return Target(f"ClusterId == {number}", cluster=number, pool=pool)
