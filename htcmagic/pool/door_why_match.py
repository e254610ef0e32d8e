"""The door's half of "why is it idle": which slots would take a job, condition by condition."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import classad2

from htcmagic.pool.door_why_expressions import Name, attributes, conjuncts, disjuncts, names, rescoped
from htcmagic.pool.door_why_slots import Expression, Slots, ad_of, value_of

MOST_VALUES = 6
"""Different values of an attribute that are told."""
LANGUAGE_ERRORS = (classad2.ClassAdException, RuntimeError, ValueError, TypeError, UnicodeDecodeError)


@dataclass(slots=True)
class Condition:
    """One thing that must be true for a slot to take the job."""

    kind: str
    """``requirements`` of the job, ``resource`` or ``start`` (the machine's side)."""
    text: str
    ever: list[bool]
    now: list[bool]
    resource: str = ""
    requested: float | None = None
    named: list[str] = field(default_factory=list)
    """The attributes of slots that it names, as it spells them."""


def true(value: Any) -> bool:
    """Whether a value makes a match: undefined and errors do not."""
    return type(value) in {bool, int, float} and bool(value)


def wanted(job: Any) -> set[str]:
    """Return the lower-cased names of the attributes that a job's Requirements need of slots."""
    return set().union(*(_reach(job, text) for text in _requirements(job)))


def _requirements(job: Any) -> list[str]:
    """Return the parts of a job's Requirements, but for those that only repeat what it requests."""
    expression = value_of(job, "Requirements")
    if not isinstance(expression, Expression):
        return [] if expression is None or true(expression) else ["false"]
    implied = {f"target.{name}>=request{name}".lower() for name in resources(job)}
    return [
        text
        for text in conjuncts(expression.text)
        if implied.isdisjoint(part.lower().replace("my.request", "request") for part in disjuncts(text))
    ]


def _reach(job: Any, text: str) -> set[str]:
    """Return the names in an expression, and in those of the job that it names."""
    own = {name.lower(): name for name in job}
    reached: set[str] = set()
    left = attributes(text)
    while left:
        name = left.pop()
        reached.add(name)
        value = value_of(job, own[name]) if name in own else None
        if isinstance(value, Expression):
            left |= attributes(value.text) - reached
    return reached


def resources(job: Any) -> list[str]:
    """Return what a job requests: ``Cpus``, ``Memory``, …, and what else a site may have added."""
    found = [name[len("Request") :] for name in job if name.lower().startswith("request")]
    return sorted((name for name in found if _requested(job, name) is not None), key=_usual_first)


def _usual_first(name: str) -> tuple[int, str]:
    usual = ("cpus", "memory", "disk", "gpus")
    return (usual.index(name.lower()) if name.lower() in usual else len(usual), name)


def _requested(job: Any, resource: str) -> float | None:
    """Return how much of a resource is requested; None if that is no number greater than 0."""
    try:
        value = job.eval(f"Request{resource}")
    except (KeyError, *LANGUAGE_ERRORS):
        return None
    return value if type(value) in {int, float} and value > 0 else None


class Match:
    """A job against all slots.

    Parameters
    ----------
    job : classad2.ClassAd
        Its ad.
    slots : Slots
        The pool's.
    """

    def __init__(self, job: Any, slots: Slots) -> None:
        self.job = job
        self.slots = slots
        self.own = frozenset(name.lower() for name in job)
        self.conditions = [*self._resources(), *self._requirements(), *self._machines()]
        self._tie()

    # the conditions

    def _resources(self) -> Iterable[Condition]:
        for name in resources(self.job):
            requested = _requested(self.job, name)
            if requested is None:
                continue
            ever, now = (
                [_number(given) >= requested for given in self.slots.column(name.lower(), whole=whole)]
                for whole in (True, False)
            )
            yield Condition("resource", f"Request{name}", ever, now, name, requested, [name.lower()])

    def _requirements(self) -> Iterable[Condition]:
        for text in _requirements(self.job):
            yield self._condition("requirements", text)

    def _condition(self, kind: str, text: str) -> Condition:
        needed = _reach(self.job, text)
        try:
            tree = classad2.ExprTree(rescoped(text, self.own))
        except LANGUAGE_ERRORS:
            never = [False] * self.slots.count
            return Condition(kind, text, never, never)

        def holds(values: dict[str, Any]) -> bool:
            try:
                return true(tree.eval(self.job, ad_of(values)))
            except LANGUAGE_ERRORS:
                return False

        ever, now = (self.slots.truths(needed, holds, whole=whole) for whole in (True, False))
        named = {name.name.lower(): name.name for name in names(text) if self._is_of_slots(name)}
        return Condition(kind, text, ever, now, named=list(named.values()))

    def _is_of_slots(self, name: Name) -> bool:
        return name.scope == "target" or (not name.scope and name.name.lower() not in self.own)

    def _machines(self) -> Iterable[Condition]:
        """Yield the machine's side: START, and what else its Requirements hold beside the resources."""
        slots = self.slots
        policies = list(zip(slots.now["requirements"], slots.now["start"], strict=True))
        rows: dict[Any, list[int]] = {}
        for row, policy in enumerate(policies):
            rows.setdefault(policy, []).append(row)
        found: dict[str, Condition] = {}
        for (requirements, start), where in rows.items():
            for text in _policy_parts(requirements, start):
                condition = found.get(text)
                if condition is None:
                    condition = found[text] = Condition("start", text, [True] * slots.count, [True] * slots.count)
                for bits, whole in ((condition.ever, True), (condition.now, False)):
                    told = self._machine_part(text, where, whole=whole)
                    for row in where:
                        bits[row] = told[row]
        return found.values()

    def _machine_part(self, text: str, where: list[int], *, whole: bool) -> dict[int, bool]:
        slots = self.slots
        own = sorted(slots.reach(attributes(text)))
        columns = [slots.column(name, whole=whole) for name in own]
        told: dict[tuple[Any, ...], bool] = {}
        answer = {}
        for row in where:
            key = tuple(column[row] for column in columns)
            if key not in told:
                told[key] = self._holds_for_machine(text, dict(zip(own, key, strict=True)))
            answer[row] = told[key]
        return answer

    def _holds_for_machine(self, text: str, values: dict[str, Any]) -> bool:
        present = {name for name, value in values.items() if value is not None}
        try:
            machine = ad_of(
                {
                    name: Expression(rescoped(value.text, present)) if type(value) is Expression else value
                    for name, value in values.items()
                }
            )
            machine["WithinResourceLimits"] = True
            return true(classad2.ExprTree(rescoped(text, present)).eval(machine, self.job))
        except LANGUAGE_ERRORS:
            return False

    def _tie(self) -> None:
        """Join a part of Requirements that only repeats a request with that request."""
        resources = {f"request{c.resource.lower()}": c for c in self.conditions if c.kind == "resource"}
        kept = []
        for condition in self.conditions:
            tied = sorted(attributes(condition.text) & resources.keys()) if condition.kind == "requirements" else []
            if len(tied) != 1:
                kept.append(condition)
                continue
            request = resources[tied[0]]
            request.ever = [a and b for a, b in zip(request.ever, condition.ever, strict=True)]
            request.now = [a and b for a, b in zip(request.now, condition.now, strict=True)]
        self.conditions = kept

    # what follows from them

    def answer(self) -> dict[str, Any]:
        """Return the counts, and the nearest changes that would match."""
        slots, conditions = self.slots, self.conditions
        failing = [
            [number for number, told in enumerate(row) if not told]
            for row in (zip(*(c.ever for c in conditions), strict=True) if conditions else [()] * slots.count)
        ]
        ever = [row for row, numbers in enumerate(failing) if not numbers]
        now = [row for row in ever if slots.free[row] and all(c.now[row] for c in conditions)]
        alone: list[list[int]] = [[] for _ in conditions]
        for row, numbers in enumerate(failing):
            if len(numbers) == 1:
                alone[numbers[0]].append(row)
        return {
            "slots": slots.count,
            "free": sum(slots.free),
            "ever": len(ever),
            "now": len(now),
            "room_ever": self._room(ever, whole=True),
            "room_now": self._room(now, whole=False),
            "conditions": [
                self._told(condition, ever, rows) for condition, rows in zip(conditions, alone, strict=True)
            ],
            "together": _together(failing) if not ever and not any(alone) else None,
            "states": Counter(self._state(row) for row in set(ever) - set(now)).most_common(),
        }

    def _state(self, row: int) -> str:
        now = self.slots.now
        if now["offline"][row] is True:
            return "offline"
        if now["partitionableslot"][row] is True and self.slots.free[row]:
            return "full"
        return str(now["state"][row]).lower()

    def _told(self, condition: Condition, ever: list[int], alone: list[int]) -> dict[str, Any]:
        slots = self.slots
        others = [*ever, *alone]
        told: dict[str, Any] = {
            "kind": condition.kind,
            "text": condition.text,
            "resource": condition.resource,
            "requested": condition.requested,
            "ever": sum(condition.ever),
            "now": sum(told and free for told, free in zip(condition.now, slots.free, strict=True)),
            "without": len(others),
            "missing": [
                name
                for name in condition.named
                if condition.kind == "requirements" and all(v is None for v in slots.now.get(name.lower(), ()))
            ],
            "values": self._values(condition, others or range(slots.count)),
        }
        if condition.resource:
            low = condition.resource.lower()
            column = slots.column(low, whole=True)
            told["largest"] = max(map(_number, column), default=0)
            told["offers"] = offers(low, [_number(column[row]) for row in others or range(slots.count)])
            told["offers_now"] = offers(low, self._left_now(condition, ever, low))
        return told

    def _left_now(self, condition: Condition, ever: list[int], low: str) -> list[float]:
        """Return how much of a resource there is now where all else is well."""
        rest = [c for c in self.conditions if c is not condition]
        column = self.slots.now[low]
        return [_number(column[row]) for row in ever if self.slots.free[row] and all(c.now[row] for c in rest)]

    def _values(self, condition: Condition, rows: Iterable[int]) -> list[tuple[Any, int]]:
        """Return what slots have where a condition asks for one attribute."""
        if condition.kind != "requirements" or len(condition.named) != 1:
            return []
        column = self.slots.now.get(condition.named[0].lower())
        if column is None:
            return []
        counted = Counter(column[row] for row in rows)
        return [(getattr(value, "text", value), number) for value, number in counted.most_common(MOST_VALUES)]

    def _room(self, rows: list[int], *, whole: bool) -> int:
        """Return how many such jobs these slots hold at once."""
        slots = self.slots
        asked = [
            (slots.column(c.resource.lower(), whole=whole), c.requested)
            for c in self.conditions
            if c.requested is not None
        ]
        cut = slots.now["partitionableslot"]
        return sum(
            min((int(_number(column[row]) // requested) for column, requested in asked), default=1)
            if cut[row] is True
            else 1
            for row in rows
        )


def offers(resource: str, amounts: list[float]) -> list[tuple[float, int]]:
    """Return amounts worth asking for and how many slots give as much: the most there is, and what many give."""
    given = sorted((amount for amount in amounts if amount > 0), reverse=True)
    if not given:
        return []
    chosen = [given[0], given[len(given) // 2], given[len(given) * 9 // 10]]
    rounded = dict.fromkeys(_round_down(resource, amount) for amount in chosen)
    return [(amount, sum(other >= amount for other in given)) for amount in rounded if amount > 0]


def _round_down(resource: str, amount: float) -> float:
    """Return a number that people write: whole GB from 4 on, 128 MB below; other resources as they are."""
    unit = {"memory": 1, "disk": 1024}.get(resource.lower())
    if unit is None:
        return amount
    step = unit * (1024 if amount >= 4096 * unit else 128)
    return amount // step * step or amount


def similar(name: str, known: list[str]) -> list[str]:
    """Return names that were probably meant."""
    by_low = {one.lower(): one for one in known}
    return [by_low[low] for low in difflib.get_close_matches(name.lower(), by_low, n=2, cutoff=0.75)]


def _policy_parts(requirements: Any, start: Any) -> list[str]:
    """Return what a machine demands beside resources: the parts of START first."""
    if not isinstance(requirements, Expression):
        return [] if true(requirements) else ["Requirements"]
    parts = []
    for text in conjuncts(requirements.text):
        if text.lower() == "withinresourcelimits":
            continue
        if text.lower() in {"start", "my.start"} and isinstance(start, Expression):
            parts += conjuncts(start.text)
        else:
            parts.append("START" if text.lower() == "start" else text)
    return parts


def _together(failing: list[list[int]]) -> tuple[list[int], int] | None:
    """Return the smallest set of conditions that keeps most slots away, and how many slots that is."""
    counted = Counter(tuple(numbers) for numbers in failing)
    if not counted:
        return None
    fewest = min(len(numbers) for numbers in counted)
    numbers, rows = max(((n, c) for n, c in counted.items() if len(n) == fewest), key=lambda pair: pair[1])
    return list(numbers), rows


def _number(value: Any) -> float:
    return value if type(value) in {int, float} else 0.0
