"""Jobs into batches, by the rules of condor_q: one line a DAG, a batch name of one owner, or a cluster."""

from __future__ import annotations

from dataclasses import dataclass, field

from htcmagic.queue.rows import (
    BATCH_PROJECTION,
    HELD,
    IDLE,
    RUNNING,
    SCHEDULER_UNIVERSE,
    SUSPENDED,
    TRANSFERRING_OUTPUT,
    BatchRow,
    Row,
    Snapshot,
    moment,
    whole,
    words,
)

_AT = {name: place for place, name in enumerate(BATCH_PROJECTION)}
_STATUS = _AT["JobStatus"]


class _Cluster:
    """The queued jobs of one cluster, and the clusters below and beside it."""

    __slots__ = ("below", "beside", "count", "first", "last_proc", "placed", "states")

    def __init__(self, first: Row) -> None:
        self.first = first
        self.count = 0
        self.last_proc = 0
        self.states: dict[object, int] = {}
        self.below: list[_Cluster] = []
        self.beside: list[_Cluster] = []
        self.placed = False

    def __getitem__(self, name: str) -> object:
        return self.first[_AT[name]]

    @property
    def is_scheduler(self) -> bool:
        return self["JobUniverse"] == SCHEDULER_UNIVERSE

    @property
    def dag(self) -> int:
        """Cluster of the DAGMan this is a node of, or 0."""
        value = self["DAGManJobId"]
        if isinstance(value, str):
            number = value.partition(".")[0].strip()
            value = int(number) if number.isdecimal() else 0
        return max(whole(value), 0)

    @property
    def batch_key(self) -> tuple[str, object] | None:
        """What clusters of one batch share."""
        name = self["JobBatchName"]
        if not isinstance(name, str):
            name = self["DAGNodeName"] if self["DAGManJobId"] is not None else None
            name = f"NODE: {name}" if isinstance(name, str) else None
        return None if name is None else (name, self["Owner"])

    @property
    def name(self) -> str:
        name = self["JobBatchName"]
        if isinstance(name, str):
            return name
        if self.is_scheduler:
            return f"DAG: {self['ClusterId']}"
        node = self["DAGNodeName"]
        if self["DAGManJobId"] is not None and isinstance(node, str):
            return f"NODE: {node}"
        return f"ID: {self['ClusterId']}"


@dataclass(slots=True)
class _Progress:
    """What a batch adds up to."""

    partial: bool
    jobs: int = 0
    done: int = 0
    total: int = 0
    unknown: bool = False
    states: dict[object, int] = field(default_factory=dict)
    low: tuple[int, int] | None = None
    high: tuple[int, int] = (0, 0)

    def add(self, cluster: _Cluster) -> None:
        for state, number in cluster.states.items():
            self.states[state] = self.states.get(state, 0) + number
        self.jobs += cluster.count
        submitted = cluster["DAG_NodesTotal"]
        submitted = whole(cluster["TotalSubmitProcs"] if submitted is None else submitted)
        if cluster.is_scheduler:
            self.jobs -= 1
            self.total += submitted
            self.done += whole(cluster["DAG_NodesDone"])
            return
        number, first = whole(cluster["ClusterId"]), whole(cluster["ProcId"])
        self.low = min(self.low or (number, first), (number, first))
        self.high = max(self.high, (number, cluster.last_proc))
        if cluster.dag:
            return
        if not submitted:
            self.unknown = True
            return
        self.total += submitted
        if not self.partial:
            made = whole(cluster["JobMaterializeNextProcId"], -1)
            self.done += submitted - cluster.count if made < 0 else made - self.jobs

    def ids(self) -> str:
        if self.low is None:
            return "0.0"
        if self.low == self.high:
            return "{}.{}".format(*self.low)
        if self.low[0] == self.high[0]:
            return f"{self.low[0]}.{self.low[1]}-{self.high[1]}"
        return "{}.{} ... {}.{}".format(*self.low, *self.high)


def _clusters(rows: list[Row]) -> list[_Cluster]:
    """Fold the sorted jobs into clusters; of DAGMan's own jobs the first tells no state."""
    clusters: list[_Cluster] = []
    number: object = None
    states: dict[object, int] = {}
    for row in rows:
        if row[0] != number:
            number = row[0]
            current = _Cluster(row)
            clusters.append(current)
            states = current.states
            if current.is_scheduler:
                states[row[_STATUS]] = -1
        status = row[_STATUS]
        states[status] = states.get(status, 0) + 1
        current.count += 1
        current.last_proc = row[1]  # type: ignore[assignment]
    return clusters


def _link(clusters: list[_Cluster]) -> None:
    """Put nodes below their DAGMan, and clusters of a batch beside its first one."""
    by_id = {cluster["ClusterId"]: cluster for cluster in clusters if cluster["ProcId"] == 0}
    first_of: dict[tuple[str, object], _Cluster] = {}
    for cluster in clusters:
        if cluster.dag:
            parent = by_id.get(cluster.dag)
            if parent is not None and cluster.dag < whole(cluster["ClusterId"]):  # no circles, whatever the ads say
                parent.below.append(cluster)
                cluster.placed = True
        elif (key := cluster.batch_key) is not None:
            oldest = first_of.setdefault(key, cluster)
            if oldest is not cluster and not cluster.is_scheduler:
                oldest.beside.append(cluster)
                cluster.placed = True


def _add_up(progress: _Progress, clusters: list[_Cluster]) -> None:
    """Add clusters with all below them, in condor_q's order; without recursion, DAGs may be deep."""
    left = clusters[::-1]
    while left:
        cluster = left.pop()
        progress.add(cluster)
        left.extend(cluster.below[::-1])


def batches(snapshot: Snapshot) -> list[BatchRow]:
    """Return the lines of the batch view.

    Parameters
    ----------
    snapshot : Snapshot
        With rows of `BATCH_PROJECTION`.
    """
    clusters = _clusters(snapshot.rows)
    _link(clusters)
    lines = []
    for cluster in clusters:
        if cluster.placed:
            continue
        progress = _Progress(snapshot.partial)
        _add_up(progress, [cluster, *cluster.beside])
        state = progress.states.get
        lines.append(
            BatchRow(
                owner=words(cluster["Owner"]),
                batch_name=cluster.name,
                submitted=moment(cluster["QDate"]),
                done=0 if progress.unknown else max(progress.done, 0),
                run=state(RUNNING, 0) + state(TRANSFERRING_OUTPUT, 0),
                idle=state(IDLE, 0) + state(SUSPENDED, 0),
                hold=state(HELD, 0),
                total=0 if progress.unknown else max(progress.total, 0),
                job_ids=progress.ids(),
            )
        )
    return lines
