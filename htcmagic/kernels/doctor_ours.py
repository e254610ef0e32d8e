"""What may have happened to a kernel of ours since it was made."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from htcmagic.errors import HTCMagicError, StackError
from htcmagic.kernels import create, doctor_python, mounts, systems
from htcmagic.kernels.recipe import Recipe
from htcmagic.kernels.stack import load

if TYPE_CHECKING:
    from htcmagic.kernels.doctor import Patient

PLACES = ("venv", "conda", "injected")


def test(one: Patient) -> None:
    """Look at a kernel that has a recipe."""
    if not one.kernel.is_ours:
        return
    name = one.kernel.name
    try:
        recipe = one.kernel.recipe
    except HTCMagicError as error:
        one.say("recipe", error.message, error.hint or "Create the kernel anew.")
        return
    edited = one.kernel.edited()
    for file, what in sorted(edited.items()):
        one.say(
            "edited",
            f"{file} was {what} by hand.",
            f"htc-kernel diff {name} shows it; htc-kernel refresh --force {name} undoes it.",
        )
    if not edited:
        _outdated(one)
    _places(one, recipe)
    if recipe.snapshot:
        _snapshot(one)
    if recipe.stack:
        _stack(one, recipe)
    if recipe.container is not None:
        _container(one, recipe)
    else:
        _python(one, recipe)


def _outdated(one: Patient) -> None:
    version = str(one.kernel.own.get("version", "?"))
    try:
        made = create.again(one.kernel, report=lambda _line: None, fetch=False).files(one.kernel.probe)
    except HTCMagicError:
        return
    now = json.loads(made["kernel.json"])["metadata"]["htcmagic"]["version"]
    if version != now and any(_content(one, name) != made[name] for name in ("setup.sh", "diagnose.py")):
        remedy = f"htc-kernel refresh {one.kernel.name}"
        one.say("version", f"htcmagic {version} made it; {now} makes it differently.", remedy)


def _content(one: Patient, name: str) -> bytes:
    try:
        return (one.kernel.folder / name).read_bytes()
    except OSError:
        return b""


def _places(one: Patient, recipe: Recipe) -> None:
    from htcmagic.kernels.doctor import is_there  # noqa: PLC0415

    inside = recipe.container is not None
    for place in ("injected",) if inside else PLACES:
        path = getattr(recipe, place)
        if path.startswith("/") and "$" not in path and not is_there(path):
            what = {"venv": "virtual environment", "conda": "conda environment"}.get(place, "ipykernel put beside it,")
            one.say("gone", f"Its {what} {path} is not there any more.", _anew(one))
    for path in () if inside else recipe.sources:
        if path.startswith("/") and "$" not in path and not is_there(path):
            one.say("gone", f"The script {path} is not there any more.", _anew(one))
    own = [path.removeprefix("$htc_folder/") for path in recipe.sources if path.startswith("$htc_folder/")]
    for file in own:
        if not (one.kernel.folder / file).is_file() and file not in one.kernel.edited():
            one.say("gone", f"Its own script {file} is not there any more.", _anew(one))
    if recipe.creator and not os.access(recipe.creator, os.X_OK):
        problem = f"The python that made it, {recipe.creator}, is gone; it was to tell why a set-up failed."
        one.say("creator", problem, f"htc-kernel refresh {one.kernel.name}")


def _anew(one: Patient) -> str:
    return f"Put it back, or name another: htc-kernel edit {one.kernel.name} --source FILE (--venv DIR, --container …)"


def _snapshot(one: Patient) -> None:
    """Look whether what is replayed is older than what it came from: the kernel then starts slowly, once."""
    remedy = f"The next start makes it anew; to have that done now: htc-kernel refresh {one.kernel.name}"
    kept = one.kernel.snapshots()
    if not kept:
        one.say("snapshot", "There is no snapshot of its environment: it starts as slowly as without.", remedy)
    for file in kept:
        newer = _newer(file)
        if newer:
            one.say("snapshot", f"Its snapshot {file} is older than {newer}.", remedy)


def _newer(snapshot: Path) -> str:
    """Return a file that a snapshot came from and that has changed since."""
    from htcmagic.kernels.doctor import LOOK_S, within  # noqa: PLC0415

    try:
        lines = snapshot.read_text(errors="replace").splitlines()
        made = snapshot.stat().st_mtime
        files = shlex.split(lines[1].removeprefix("# "))
    except (OSError, IndexError, ValueError):
        return ""
    changed = [path for path in files if path.startswith("/") and not path.startswith("/cvmfs/")]

    def look() -> str:
        there = (path for path in changed if Path(path).exists())
        return next((path for path in there if Path(path).stat().st_mtime > made), "")

    return within(LOOK_S, look, "")


def _stack(one: Patient, recipe: Recipe) -> None:
    from htcmagic.kernels.doctor import LOOK_S  # noqa: PLC0415

    try:
        stack = load(recipe.stack)
        missing = mounts.missing(stack, LOOK_S)
        absent = [] if missing else mounts.absent(stack, recipe.options, LOOK_S)
    except StackError as error:
        one.say("stack", error.message, error.hint or "htc-kernel stacks lists what there is.")
        return
    for repository in missing:
        one.say(
            "repository", f"/cvmfs/{repository} is not mounted here.", "Ask who runs this machine, or take an image."
        )
    for entry in absent:
        remedy = f"htc-kernel releases {stack.name} lists what is; then htc-kernel edit {one.kernel.name} --release R"
        one.say("release", f"{entry} is not there: was the release removed?", remedy)
    machine = systems.platform_of_this_machine()
    if recipe.container is None and stack.systems and machine.system and machine.system not in stack.systems:
        problem = f"{stack.title} works on {', '.join(stack.systems)}; this machine is {machine.system}."
        one.say("system", problem, f"htc-kernel edit {one.kernel.name} --container IMAGE")


def _container(one: Patient, recipe: Recipe) -> None:
    from htcmagic.kernels.doctor import is_there  # noqa: PLC0415

    box = recipe.container
    if box is None:
        return
    image = box.path or box.image
    if image.startswith("/") and not is_there(image):
        one.say(
            "image",
            f"The image {image} is not there any more.",
            f"htc-kernel refresh {one.kernel.name} fetches {box.image} again.",
        )
    known = [box.runtime, os.environ.get("HTCMAGIC_APPTAINER", ""), "apptainer", "singularity"]
    if not any(shutil.which(program) for program in known if program) and not _ours():
        remedy = "Install Apptainer, or: htc-pool install --with apptainer"
        one.say("runtime", "Neither apptainer nor singularity is on this machine.", remedy)


def _ours() -> bool:
    from htcmagic import places  # noqa: PLC0415

    return any(places.programs_dir().glob("apptainer-*/usr/bin/apptainer"))


def _python(one: Patient, recipe: Recipe) -> None:
    """Ask the python anew, where it is known without a set-up: its packages may have changed since."""
    if recipe.stack or recipe.modules or recipe.sources or recipe.injected:
        return
    folder = recipe.venv or recipe.conda
    program = recipe.python or (f"{folder}/bin/python" if folder else "")
    if not program.startswith("/") or "$" in program:
        return
    if not Path(program).exists():
        if not folder or Path(folder).exists():
            one.say("gone", f"Its python {program} is not there any more.", _anew(one))
        return
    python = doctor_python.ask(program, ("-s",))
    if not python.ipykernel:
        remedy = f"Install it again: {program} -m pip install ipykernel"
        one.say("no-ipykernel", f"{program} has no ipykernel that can be imported: {python.problem}", remedy)
    else:
        doctor_python.promises(one, python)
