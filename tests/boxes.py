"""Kernels in real images: written as ``htc-kernel create`` does, asked what their inside is given."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import images
import kernels

from htcmagic.kernels import kernelspec
from htcmagic.kernels.probe import Probe
from htcmagic.kernels.recipe import Container, Recipe

_BOX = {one.name for one in fields(Container)}


def boxed(
    folder: Path, image: str | Path = "kernel", name: str = "boxed", ipykernel: str = "6.17.0", **more: Any
) -> Path:
    """Write a kernel in an image, one of :mod:`images` or any path; options go to the recipe or its container."""
    path = str(image if os.sep in str(image) else images.image(str(image)))
    box = {"runtime": str(images.apptainer()), **{key: more.pop(key) for key in list(more) if key in _BOX}}
    more.setdefault("creator", sys.executable)
    recipe = Recipe(name, name, container=Container(path, path, **box), **more)
    made = folder / name
    made.mkdir(parents=True, exist_ok=True)
    known = Probe("3.11.2", "/usr/bin/python3", ipykernel)
    for file, content in kernelspec.contents(recipe, None, known, "htc-kernel create").items():
        (made / file).write_bytes(content)
        (made / file).chmod(0o755 if file in kernelspec.PROGRAMS else 0o644)
    return made


TELL = 'import os, sys; sys.stdout.buffer.write(b"\\0".join(k + b"=" + v for k, v in os.environb.items()))'
"""For a python inside."""


def inside(made: Path, env: Mapping[str, str] | None = None, **more: Any) -> tuple[dict[str, str], str]:
    """Return the variables that a kernel's python has, and what was said on stderr; `env` is added to ours."""
    words = [str(made / "setup.sh"), "--python", "-c", TELL]
    done = subprocess.run(
        words, env={**os.environ, **(env or {})}, capture_output=True, timeout=60, check=False, **more
    )
    said = done.stderr.decode()
    assert done.returncode == 0, said
    return dict(word.split("=", 1) for word in done.stdout.decode().split("\0")), said


def shell(made: Path, text: str, **more: Any) -> str:
    """Return what a shell inside prints."""
    done = kernels.ask(made, "--run", "sh", "-c", text, **more)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
