"""What the slots say about an idle job: the sentence, the conditions and the nearest changes that would match."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from htcmagic.jobs.display import clean
from htcmagic.queue.why.fixes import Hand, printable
from htcmagic.queue.why.model import Condition, Fix, Group
from htcmagic.queue.why.words import amount, counted, listed, request, resource_name

LONGEST = 160
EQUALS = re.compile(
    r"""(?P<left>(?:TARGET\.)?(?P<name>\w+))\s*(?P<operator>==|=\?=|is)\s*(?P<value>"[^"\\]*"|\d+|true)\Z""",
    re.IGNORECASE,
)
MACHINE_WANTS = re.compile(
    r"""TARGET\.(?P<name>\w+)\s*(?:==|=\?=|is)\s*(?P<value>"[^"\\]*"|\d+|true)\Z""", re.IGNORECASE
)
BY_SUBMIT = re.compile(
    r"""\(?TARGET\.(Arch|OpSys|Has\w+|FileSystemDomain|UidDomain)\b|versionGE\(|\(\(time\(\)|TARGET\.\w+ >= Request""",
)
"""Parts of Requirements that condor_submit adds by itself."""
KNOWN = {
    "hassif": "no machine runs SIF images: a docker:// image or an unpacked one may do",
    "hascontainer": "no machine runs containers",
    "hasdocker": "no machine runs Docker images: universe = container with a docker:// image may do",
    "hassingularity": "no machine has Apptainer or Singularity",
    "hasfiletransfer": "without a shared file system: should_transfer_files = YES",
}


@dataclass(slots=True)
class Verdict:
    """What follows from the conditions."""

    ever: int
    now: int
    sentence: str
    details: list[str] = field(default_factory=list)
    fixes: list[Fix] = field(default_factory=list)


def verdict(group: Group, hand: Hand) -> Verdict:
    """Judge a job by the slots that were looked at."""
    match = group.match
    assert match is not None  # noqa: S101
    found = Verdict(int(match["ever"]), int(match["now"]), "")
    if not found.ever:
        _never(found, group, match, hand)
    elif not found.now:
        _busy(found, group, match, hand)
    if found.ever:
        room, now = int(match["room_ever"]), int(match["room_now"])
        found.details.append(
            f"{counted(found.ever, 'slot')} of {match['slots']:,} could run it. "
            f"The whole pool holds {counted(room, 'such job')} at a time, and has room for {now:,} now."
        )
    return found


def conditions_of(group: Group) -> tuple[Condition, ...]:
    """Return what a slot has to satisfy, as people write it."""
    match = group.match or {"conditions": (), "slots": 0}
    return tuple(
        Condition(
            str(one["kind"]),
            _as_written(one) + _kind_of_gpu(one, group),
            int(one["ever"]),
            int(one["now"]),
            int(one["without"]),
            _note(one, int(match["slots"]), match.get("near") or {}),
        )
        for one in match["conditions"]
        if one["kind"] != "start" or one["ever"] < match["slots"]
    )


def _as_written(one: Mapping[str, Any]) -> str:
    if one["resource"]:
        line, _, _ = request(one["resource"], one["requested"]).partition(" = ")
        return f"{line} = {amount(one['resource'], one['requested'])}"
    return clean(str(one["text"]), LONGEST)


def _kind_of_gpu(one: Mapping[str, Any], group: Group) -> str:
    """Return what a GPU must be like; empty if nothing is said."""
    like = group.expression("RequireGPUs") if str(one["resource"]).lower() == "gpus" else ""
    return f" with {clean(like, LONGEST)}" if like else ""


def _note(one: Mapping[str, Any], slots: int, near: Mapping[str, list[str]]) -> str:
    """Return what slots have in place of what is wanted."""
    if one["ever"] == slots:
        return ""
    if one["resource"]:
        return (
            f"the largest slot has {amount(one['resource'], one['largest'])}" if one["largest"] else "no slot has any"
        )
    if one["missing"]:
        return "; ".join(_unknown(name, near) for name in one["missing"])
    have = _have(one["values"])
    return f"they have {have}" if have else ""


def _unknown(name: str, near: Mapping[str, list[str]]) -> str:
    if name.lower() in KNOWN:
        return KNOWN[name.lower()]
    meant = near.get(name) or []
    return f"no slot has an attribute {clean(name, 60)}" + (f": {' or '.join(meant)}?" if meant else "")


def _have(values: list[tuple[Any, int]]) -> str:
    if not values:
        return ""
    told = [f"{clean(_value(value), 60)} ({counted(number, 'slot')})" for value, number in values[:4]]
    return ", ".join(told) + (", …" if len(values) > 4 else "")


def _value(value: Any) -> str:
    return "nothing" if value is None else str(value)


# what can never match


def _never(found: Verdict, group: Group, match: Mapping[str, Any], hand: Hand) -> None:
    conditions = match["conditions"]
    alone = sorted((c for c in conditions if c["without"]), key=lambda c: -c["without"])
    if alone:
        first = alone[0]
        found.sentence = _blame(first, group, match)
        for one in alone:
            found.fixes += _changes(one, group, match, hand)
        if len(alone) > 1:
            found.details.append("Any one of these is enough: " + listed([_as_written(one) for one in alone]) + ".")
        return
    numbers, slots = match["together"] or ([], 0)
    blamed = [conditions[number] for number in numbers]
    impossible = [one for one in blamed if not one["ever"]] or blamed
    if not impossible:
        found.sentence = "no slot would take it."
        return
    found.sentence = _blame(impossible[0], group, match)
    if len(blamed) > 1:
        told = listed([_as_written(one) for one in blamed])
        found.details.append(
            f"More than one thing is in the way: without {told}, {counted(slots, 'slot')} would match."
        )
        changes = {str(one["text"]): _instead(one, match) for one in blamed if one["kind"] == "requirements"}
        if len(changes) == len(blamed) and all(changes.values()):
            told = " and ".join(clean(new, LONGEST) for new in changes.values())
            found.fixes.append(_required(f"probably meant: {told}", changes, group, match, hand))


def _blame(one: Mapping[str, Any], group: Group, match: Mapping[str, Any]) -> str:
    """Say what keeps every slot away."""
    if one["resource"]:
        return _too_much(one, group)
    text = clean(str(one["text"]), LONGEST)
    if one["kind"] == "start":
        return f"the machines do not take it: their START wants {text}."
    if one["missing"]:
        told = "; ".join(_unknown(name, match.get("near") or {}) for name in one["missing"])
        return f"it requires {text}, but {told}."
    have = _have(one["values"])
    if one["ever"]:
        return f"it requires {text}, and slots that are so do not fit otherwise" + (
            f"; those that would have {have}." if have else "."
        )
    return f"it requires {text}, and no slot is so" + (f": they have {have}." if have else ".")


def _too_much(one: Mapping[str, Any], group: Group) -> str:
    wanted, largest = amount(one["resource"], one["requested"]), amount(one["resource"], one["largest"])
    what = resource_name(one["resource"])
    head = f"it asks for {wanted}" + (f" of {what}" if what in {"memory", "disk"} else "")
    like = _kind_of_gpu(one, group)
    if not one["largest"]:
        return f"{head}, and no slot of this pool has any."
    if like:
        return f"{head}{like}, and no slot has as many of them."
    if one["largest"] >= one["requested"] and one["offers"]:
        most = amount(one["resource"], one["offers"][0][0])
        return f"{head}, and slots with as much do not fit otherwise; those that would have at most {most}."
    return f"{head}, and no slot has more than {largest}."


def _changes(one: Mapping[str, Any], group: Group, match: Mapping[str, Any], hand: Hand) -> list[Fix]:
    """Return the nearest changes of one condition after which slots match."""
    if one["resource"]:
        return [_ask_less(one, value, slots, group, hand) for value, slots in _choose(one["offers"])]
    if one["kind"] == "start":
        wants = MACHINE_WANTS.match(str(one["text"]))
        if wants is None or not printable(str(one["text"])):
            return []
        return [
            Fix(
                f"{counted(one['without'], 'slot')} would match with what their START wants",
                hand.edit(group, {wants["name"]: wants["value"]}),
                f"My.{wants['name']} = {wants['value']}",
            )
        ]
    return _require_less(one, group, match, hand)


def _choose(offers: list[tuple[float, int]]) -> list[tuple[float, int]]:
    """Return the largest amount, and one that many more slots give."""
    if not offers:
        return []
    more = [offer for offer in offers[1:] if offer[1] >= 2 * offers[0][1]]
    return [offers[0], *more[:1]]


def _ask_less(one: Mapping[str, Any], value: float, slots: int, group: Group, hand: Hand, when: str = "") -> Fix:
    says = (
        f"at {amount(one['resource'], value)} {counted(slots, 'slot')} {when or ('matches' if slots == 1 else 'match')}"
    )
    changes = {f"Request{one['resource']}": f"{int(value)}"}
    return Fix(says, hand.edit(group, changes), request(one["resource"], value))


def _require_less(one: Mapping[str, Any], group: Group, match: Mapping[str, Any], hand: Hand) -> list[Fix]:
    """Return requirements with another value in a comparison, or without it."""
    if any(name.lower() in KNOWN for name in one["missing"]):
        return []
    new = _instead(one, match)
    said = clean(new, LONGEST) if new else f"without {clean(str(one['text']), LONGEST)}"
    number = one["without"]
    if new and one["values"] and not one["missing"]:
        number = next(slots for value, slots in one["values"] if value is not None)
    says = f"{'with ' if new else ''}{said} {counted(number, 'slot')} would match"
    return [_required(says, {str(one["text"]): new}, group, match, hand)]


def _instead(one: Mapping[str, Any], match: Mapping[str, Any]) -> str:
    """Return what a part of the requirements probably should be; empty where it should rather not be."""
    text = str(one["text"])
    equals = EQUALS.match(text)
    values = [value for value, _ in one["values"] if value is not None]
    if equals and values and type(values[0]) in {str, int}:
        quoted = f'"{values[0]}"' if isinstance(values[0], str) else str(values[0])
        return f"{equals['left']} {equals['operator']} {quoted}"
    meant = [near for name in one["missing"] for near in (match.get("near") or {}).get(name, [])]
    if meant and len(one["missing"]) == 1:
        return re.sub(rf"\b{re.escape(one['missing'][0])}\b", meant[0], text)
    return ""


def _required(says: str, changes: Mapping[str, str], group: Group, match: Mapping[str, Any], hand: Hand) -> Fix:
    """Return the fix that puts other parts into the requirements."""
    whole = group.expression("Requirements")
    own = []
    for old, new in changes.items():
        whole = whole.replace(old, new or "true", 1)
    for one in match["conditions"]:
        text = str(one["text"])
        text = changes.get(text, text)
        if one["kind"] == "requirements" and text and not BY_SUBMIT.match(text):
            own.append(f"({text})" if "||" in text or "?" in text else text)
    if not printable(whole):
        return Fix(says)
    return Fix(says, hand.edit(group, {"Requirements": whole}), f"requirements = {' && '.join(own)}" if own else "")


# what waits for room


def _busy(found: Verdict, group: Group, match: Mapping[str, Any], hand: Hand) -> None:
    states = dict(match["states"])
    full = states.pop("full", 0) + states.pop("claimed", 0)
    if not states:
        ones = (
            "the only slot that could run it is taken"
            if found.ever == 1
            else (f"all {found.ever:,} slots that could run it are taken")
        )
    else:
        told = [f"{full:,} taken"] * bool(full) + [f"{number:,} {clean(name, 40)}" for name, number in states.items()]
        ones = f"none of the {counted(found.ever, 'slot')} that could run it takes jobs now ({', '.join(told)})"
    found.sentence = f"it waits for room: {ones}."
    for one in match["conditions"]:
        if one["resource"] and one["offers_now"]:
            value, slots = one["offers_now"][0]
            if _worth(value, one["requested"]):
                when = "has room now" if slots == 1 else "have room now"
                found.fixes.append(_ask_less(one, value, slots, group, hand, when))


def _worth(value: float, requested: float) -> bool:
    """Whether so much less is still a sensible thing to ask for."""
    return requested * 0.25 <= value < requested
