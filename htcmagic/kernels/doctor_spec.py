"""What ``kernel.json`` itself may have wrong."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from string import Template
from typing import TYPE_CHECKING

from htcmagic.kernels.outside import SECRETS

if TYPE_CHECKING:
    from htcmagic.kernels.doctor import Patient

KEYS = {
    "argv": list, "display_name": str, "language": str, "mimetype": str, "env": dict, "interrupt_mode": str,
    "metadata": dict, "kernel_protocol_version": str, "name": str, "resource_dir": str,
}  # fmt: skip
"""What jupyter_client knows, and as what."""


def test(one: Patient) -> None:
    """Look at ``kernel.json``."""
    kernel, data = one.kernel, one.kernel.data
    if kernel.problem:
        one.say(
            "json", kernel.problem, f"Jupyter hides it: mend {kernel.folder / 'kernel.json'}, or remove the folder."
        )
        return
    if not re.fullmatch(r"[a-z0-9._-]+", kernel.folder.name, re.IGNORECASE):
        one.say("name", f"{kernel.folder.name!r} is no name for a kernel.", "Rename its folder: letters, digits, . _ -")
    _keys(one)
    words = data.get("argv")
    if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
        one.say(
            "argv", "argv is not a list of words.", "Jupyter cannot start it: write the command as a list of texts."
        )
    elif "{connection_file}" not in " ".join(words):
        one.say(
            "argv",
            "argv does not hold {connection_file}.",
            "The kernel cannot know its connection: add -f {connection_file}",
        )
    if data.get("interrupt_mode", "signal") not in {"signal", "message"}:
        one.say(
            "interrupt_mode",
            f"interrupt_mode is {data['interrupt_mode']!r}.",
            "Jupyter hides it: write signal or message.",
        )
    _env(one)
    _provisioner(one)
    for other in one.hides:
        one.say(
            "shadowed",
            f"It hides another kernel of the same name in {other.folder}.",
            "Only the first can be started; rename or remove one of the two folders.",
        )


def _keys(one: Patient) -> None:
    for key, value in one.kernel.data.items():
        if key not in KEYS:
            remedy = "jupyter_client will refuse such kernels one day: move it below metadata."
            one.say("unknown-key", f"kernel.json has a key {key!r} that Jupyter does not know.", remedy)
        elif not isinstance(value, KEYS[key]) and key != "argv":
            one.say("type", f"{key} is no {KEYS[key].__name__} in kernel.json.", "Jupyter hides it: correct the value.")
    for key in ("display_name", "language"):
        if not one.kernel.data.get(key):
            one.say("missing-key", f"kernel.json has no {key}.", f"Add one: launchers need {key}.")


def _env(one: Patient) -> None:
    given = one.kernel.data.get("env")
    for name, value in given.items() if isinstance(given, dict) else ():
        if not isinstance(value, str):
            one.say("env-type", f"env.{name} is not a text.", 'The kernel does not start: write the value in "".')
            continue
        filled = Template(value).safe_substitute(os.environ)
        if "$$" in value:
            one.say(
                "env-dollar",
                f"env.{name}: Jupyter makes one $ of the $$ in it.",
                "Set it in a script: htc-kernel create --set",
            )
        elif "$" in filled:
            unknown = re.search(r"\$(\{\w+\}|\w+|.?)", filled)
            part = unknown[0] if unknown else "$"
            remedy = f"{part} is not set here: write it out, or set it in a script: htc-kernel adopt {one.kernel.name}"
            one.say("env-dollar", f"env.{name}: {part} stays as it is, or is filled in differently elsewhere.", remedy)
        if value and _is_secret(name):
            remedy = "Take it out; a kernel gets the server's own variable anyway."
            one.say("secret", f"env.{name} looks like a secret, in a file that others may read.", remedy)


def _is_secret(name: str) -> bool:
    import fnmatch  # noqa: PLC0415

    return any(fnmatch.fnmatchcase(name.upper(), pattern) for pattern in (*SECRETS, "KRB5CCNAME"))


def _provisioner(one: Patient) -> None:
    wanted = one.metadata.get("kernel_provisioner")
    if not isinstance(wanted, dict):
        return
    from importlib.metadata import entry_points  # noqa: PLC0415

    name = wanted.get("provisioner_name")
    if name not in {point.name for point in entry_points(group="jupyter_client.kernel_provisioners")}:
        remedy = "Install the package that brings it where the Jupyter server is installed."
        one.say(
            "provisioner",
            f"Its provisioner {name!r} is not installed here, so Jupyter hides it without a word.",
            remedy,
        )


def compare(everybody: Collection[Patient], chosen: Collection[Patient]) -> None:
    """Look for kernels that launchers show alike."""
    titles: dict[tuple[str, str], list[str]] = {}
    for one in everybody:
        titles.setdefault((one.kernel.title, str(one.kernel.data.get("language"))), []).append(one.kernel.name)
    for one in chosen:
        names = titles[one.kernel.title, str(one.kernel.data.get("language"))]
        others = [name for name in names if name != one.kernel.name]
        if others and not one.kernel.problem:
            remedy = "Give each a display_name of its own: launchers show nothing else."
            one.say("same-title", f"{' and '.join(others)} is shown as {one.kernel.title!r} too.", remedy)
