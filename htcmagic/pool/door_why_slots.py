"""The door's view of a pool's slots, made to answer "which of them would take this job" for thousands at once.

Slots come projected to what the expressions name, as columns. A condition is evaluated once for each distinct
combination of the attributes that it names, not once for each slot: a pool has few kinds of machines.

Every slot is looked at twice: as it is now, and as it would be with nothing on it (``TotalSlotMemory`` in place of
``Memory``), for what it could ever give. Dynamic slots are parts of partitionable ones and not looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import classad2
import htcondor2

from htcmagic.pool.door_rows import PLAIN
from htcmagic.pool.door_why_expressions import attributes

Columns: TypeAlias = dict[str, list[Any]]

ALWAYS = ("Name", "State", "Activity", "PartitionableSlot", "Offline", "Requirements", "Start")
UNUSED = frozenset({"withinresourcelimits"})
"""Long, and only the comparison of what is requested with what there is, which is made here."""
NOT_DYNAMIC = 'SlotType =!= "Dynamic"'
GPUS_FREE, GPUS_ALL = "availablegpus", "assignedgpus"
DEEPEST = 5
"""How often attributes that stand in the values of attributes are fetched."""


class Expression(NamedTuple):
    """The text of a value that is no plain one."""

    text: str


@dataclass(slots=True)
class Slots:
    """Slots as columns, under lower-cased names."""

    count: int = 0
    now: Columns = field(default_factory=dict)
    whole: Columns = field(default_factory=dict)
    """The columns that are others in an empty slot."""
    free: list[bool] = field(default_factory=list)
    """Whether a slot takes another job at all now."""
    resources: tuple[str, ...] = ()

    def column(self, name: str, *, whole: bool) -> list[Any]:
        """Return the values of an attribute, of empty slots if `whole`."""
        found = self.whole.get(name) if whole else None
        return self.now[name] if found is None else found

    def truths(self, names: Iterable[str], holds: Callable[[dict[str, Any]], bool], *, whole: bool) -> list[bool]:
        """Return for each slot whether a condition holds that names these attributes.

        Parameters
        ----------
        names : iterable of str
            Lower-cased; those that are no attributes of slots are left out.
        holds : callable
            Gets the attributes' values.
        whole : bool
            Of empty slots.
        """
        own = sorted(self.reach(names))
        if not own:
            return [holds({})] * self.count
        keys = list(zip(*(self.column(name, whole=whole) for name in own), strict=True))
        told = {key: holds(dict(zip(own, key, strict=True))) for key in set(keys)}
        return [told[key] for key in keys]

    def reach(self, names: Iterable[str]) -> set[str]:
        """Return the columns that a value depends on, through the expressions in them."""
        reached: set[str] = set()
        left = set(names) & self.now.keys()
        while left:
            name = left.pop()
            reached.add(name)
            values = (*self.now[name], *self.whole.get(name, ()))
            texts = {value.text for value in values if type(value) is Expression}
            left |= (set().union(*map(attributes, texts)) & self.now.keys()) - reached
        return reached


def ad_of(values: dict[str, Any]) -> Any:
    """Return an ad with these values."""
    ad = classad2.ClassAd()
    for name, value in values.items():
        if value is not None:
            ad[name] = classad2.ExprTree(value.text) if type(value) is Expression else value
    return ad


def value_of(ad: Any, name: str) -> Any:
    """Return a value as int, float, str, bool, None or `Expression`."""
    try:
        value = ad[name]
    except KeyError:
        return None
    except UnicodeDecodeError:
        return None
    if type(value) in PLAIN:
        return value
    if isinstance(value, classad2.Value):
        return None
    return Expression(str(ad.lookup(name)))


def fetch(collector: Any, wanted: Iterable[str], resources: Iterable[str], *, constraint: str = NOT_DYNAMIC) -> Slots:
    """Ask the collector for all slots.

    Parameters
    ----------
    collector : htcondor2.Collector
        Whom to ask.
    wanted : iterable of str
        Lower-cased names of the attributes of slots that jobs name.
    resources : iterable of str
        ``Cpus``, ``Memory``, …: what jobs request.
    constraint : str
        Only slots for which this is true.
    """
    resources = tuple(resources)
    names = {*wanted, *(name.lower() for name in (*ALWAYS, *_amounts(resources)))} - UNUSED
    columns: Columns = {}
    asked = set(UNUSED)
    for _ in range(DEEPEST):
        more = names - asked
        if not more:
            break
        asked |= more
        ads = collector.query(htcondor2.AdType.Startd, constraint=constraint, projection=["Name", *sorted(more)])
        read = _columns(ads, {"name", *more})
        columns = read if not columns else _joined(columns, read)
        texts = {value.text for name in more for value in read[name] if type(value) is Expression}
        names |= set().union(*map(attributes, texts))
        if GPUS_FREE in names:
            names |= {GPUS_ALL, *(_gpu(one).lower() for text in columns.get(GPUS_ALL, ()) for one in _devices(text))}
    return _slots(columns, resources)


def near_names(collector: Any, slot: str) -> list[str]:
    """Return the names of all attributes of one slot."""
    ads = collector.query(htcondor2.AdType.Startd, constraint=f"Name == {classad2.quote(slot)}")
    return sorted(ads[0]) if ads else []


def _amounts(resources: Iterable[str]) -> list[str]:
    return [name for one in resources for name in (one, f"TotalSlot{one}")]


def _columns(ads: list[Any], names: set[str]) -> Columns:
    """Return the ads' values by attribute; what there is to ask is worked out once for ads of the same shape."""
    plans: dict[tuple[str, ...], tuple[list[str], list[list[Any]]]] = {}
    columns: Columns = {name: [None] * len(ads) for name in names}
    for row, ad in enumerate(ads):
        shape = tuple(ad)
        plan = plans.get(shape)
        if plan is None:
            there = [name for name in shape if name.lower() in names]
            plan = plans[shape] = (there, [columns[name.lower()] for name in there])
        try:
            values = [ad[name] for name in plan[0]]
        except UnicodeDecodeError:  # one foreign byte in one ad must not break everybody's view
            values = [value_of(ad, name) for name in plan[0]]
        for name, column, value in zip(*plan, values, strict=True):
            column[row] = value if type(value) in PLAIN else value_of(ad, name)
    return columns


def _joined(columns: Columns, more: Columns) -> Columns:
    """Add columns of the same slots that were asked for later: some may have come and gone."""
    if more["name"] == columns["name"]:
        return columns | more
    place = {name: row for row, name in enumerate(more["name"])}
    rows = [place.get(name) for name in columns["name"]]
    late = {key: [None if row is None else column[row] for row in rows] for key, column in more.items()}
    return late | columns


def _devices(text: Any) -> list[str]:
    """Return the GPUs of a slot, used or not."""
    return [one.strip() for one in text.split(",") if one.strip()] if isinstance(text, str) else []


def _gpu(device: str) -> str:
    """Return the attribute that describes a GPU."""
    return "GPUs_" + "".join(letter if letter.isalnum() else "_" for letter in device)


def _slots(columns: Columns, resources: tuple[str, ...]) -> Slots:
    count = len(columns["name"])
    slots = Slots(count, columns, resources=resources)
    cut = columns["partitionableslot"]
    for name in resources:
        low = name.lower()
        now, total = columns[low], columns[f"totalslot{low}"]
        slots.whole[low] = [
            all_of_it if parts is True and all_of_it is not None else left
            for parts, all_of_it, left in zip(cut, total, now, strict=True)
        ]
    if GPUS_FREE in columns:
        slots.whole[GPUS_FREE] = [
            Expression("{" + ",".join(map(_gpu, devices)) + "}") if parts is True and devices else free
            for parts, devices, free in zip(cut, map(_devices, columns[GPUS_ALL]), columns[GPUS_FREE], strict=True)
        ]
    slots.free = [
        offline is not True
        and (state in {"Unclaimed", "Claimed"} if parts is True else state == "Unclaimed")
        and activity != "Retiring"
        for offline, state, activity, parts in zip(
            columns["offline"], columns["state"], columns["activity"], cut, strict=True
        )
    ]
    return slots
