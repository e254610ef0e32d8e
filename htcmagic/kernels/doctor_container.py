"""What may be wrong with a kernel that is a container's command line."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from jupyter_core.paths import jupyter_runtime_dir

from htcmagic.kernels.foreign import CONNECTION, ContainerCall, container_call, line_words

if TYPE_CHECKING:
    from htcmagic.kernels.doctor import Patient

PREFIXES = ("APPTAINERENV_", "SINGULARITYENV_")


def test(one: Patient) -> None:
    """Look at a command that starts a container, in ``argv`` or in a script."""
    if one.kernel.is_ours:
        return
    _injected(one)
    command = one.command
    if command.kind in {"container", "engine"}:
        if not command.program:
            return
        if command.kind == "container":
            _direct(one)
            call = container_call(command.words)
            if call is not None:
                _call(one, call)
        return
    for _, line in command.script.lines if command.script is not None else ():
        words = line_words(line)
        while words and (words[0] == "exec" or re.fullmatch(r"\w+=.*", words[0])):
            words = words[1:]
        if words and Path(words[0]).name in {"apptainer", "singularity"}:
            call = container_call(words)
            if call is not None:
                _call(one, call)


def _direct(one: Patient) -> None:
    adopt = f"htc-kernel adopt {one.kernel.name}"
    one.say("container-orphan", "A container started directly outlives a killed server: its runtime stays.", adopt)
    if one.kernel.data.get("interrupt_mode", "signal") == "signal":
        problem = "Interrupts come twice: as a signal to the group, and once more from the runtime."
        one.say(
            "container-interrupt", problem, f"With ipykernel 6.2 or later, write interrupt_mode: message; or {adopt}"
        )


def _call(one: Patient, call: ContainerCall) -> None:
    from htcmagic.kernels.doctor import is_there  # noqa: PLC0415

    image = call.image
    if "$" not in image and "://" not in image and not is_there(os.path.expanduser(image)):  # noqa: PTH111
        one.say("image", f"The image {image} is not there.", "Fetch it again, or remove the kernel.")
    for bind in call.binds:
        source = bind.partition(":")[0]
        if "$" not in source and "{" not in source and not is_there(source):
            one.say(
                "bind", f"{source} is bound but not there: the container does not start.", "Take it out, or make it."
            )
    contained = call.has("--contain", "--containall", "--compat")
    if contained and not _shows_connection(call):
        runtime = jupyter_runtime_dir()
        problem = (
            f"Contained, but {runtime} is not bound: the kernel makes up its own ports, and the client waits for ever."
        )
        one.say("connection", problem, f"Bind it: -B {runtime}")
    clean = call.has("--cleanenv", "--containall", "--compat")
    if call.has("--pid") and not clean and not _parent_told(one, call):
        problem = "With --pid the kernel cannot see its server, and ends after a second."
        one.say("container-pid", problem, 'Set APPTAINERENV_JPY_PARENT_PID="" in kernel.json\'s env.')


def _shows_connection(call: ContainerCall) -> bool:
    runtime = Path(jupyter_runtime_dir()).resolve()
    for bind in [*call.binds, *call.values("--mount"), *call.values("--home")]:
        if CONNECTION in bind or re.search(r"\$\{?\(?(?:1|cf|conn|dirname|runtime)", bind, re.IGNORECASE):
            return True
        source = re.search(r"(?:source|src)=([^,]+)", bind)
        folder = Path(source[1] if source else bind.partition(":")[0])
        if folder.is_absolute() and runtime.is_relative_to(folder.resolve()):
            return True
    return False


def _parent_told(one: Patient, call: ContainerCall) -> bool:
    text = one.command.script.text if one.command.script is not None else ""
    return (
        any(f"{prefix}JPY_PARENT_PID" in one.env or f"{prefix}JPY_PARENT_PID" in text for prefix in PREFIXES)
        or any("JPY_PARENT_PID" in value for value in call.values("--env"))
        or "JPY_PARENT_PID=" in text
    )


def _injected(one: Patient) -> None:
    """Look at variables for the inside: one bad name or value, and the runtime drops them all."""
    for key, value in one.env.items():
        prefix = next((prefix for prefix in PREFIXES if key.startswith(prefix)), "")
        if not prefix:
            continue
        if not re.fullmatch(r"[A-Za-z_]\w*", key.removeprefix(prefix)):
            problem = f"env.{key} is no variable's name: the runtime drops all {prefix}* for it."
            one.say("container-env", problem, "Take it out.")
        elif re.search(r"(?<!\\)(?:`|\$\()", value):
            one.say("container-env", f"env.{key}: a shell in the container evaluates it.", "Write \\ before $ and `.")
        other = PREFIXES[0] if prefix == PREFIXES[1] else PREFIXES[1]
        twin = one.env.get(other + key.removeprefix(prefix))
        if prefix == PREFIXES[0] and twin is not None and twin != value:
            problem = f"env.{key} and {other}{key.removeprefix(prefix)} differ: which one wins depends on the runtime."
            one.say("container-env", problem, "Give both the same value.")
