"""What is done in the namespace: kernels are made, started, asked. Reads a list of steps, prints their answers."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from htcmagic.errors import HTCMagicError

CREATOR = sys.executable


def make(
    name: str,
    stack: str = "",
    options: dict[str, str] | None = None,
    forced: dict[str, str] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """Write a kernel's folder, as the command does; what was chosen for it, or the error's text.

    What is `forced` is not checked: it was there when the kernel was made, and is gone.
    """
    from htcmagic.kernels import kernelspec, releases
    from htcmagic.kernels import stack as stacks
    from htcmagic.kernels.recipe import Recipe

    try:
        known = stacks.load(stack) if stack else None
        values = {**(releases.resolve(known, options or {}) if known else {}), **(forced or {})}
        recipe = Recipe(name=name, title=name, stack=stack, options=values, creator=CREATOR, **more)
        files = kernelspec.contents(recipe, known, None, f"htc-kernel create --cvmfs {stack}")
    except HTCMagicError as error:
        return {"error": str(error), "kind": type(error).__name__}
    folder = Path(os.environ["KERNELS"]) / name
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in files.items():
        (folder / file).write_bytes(content)
        if file in kernelspec.PROGRAMS:
            (folder / file).chmod(0o755)
    return {"folder": str(folder), "options": dict(values), "stack": str(known.folder) if known else ""}


def run(name: str, words: list[str], mode: str = "--run", timeout: float = 60, **env: str) -> dict[str, Any]:
    """Run a command in a kernel's environment."""
    began = time.monotonic()
    done = subprocess.run(
        [f"{os.environ['KERNELS']}/{name}/setup.sh", mode, *words],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    return {
        "out": done.stdout,
        "err": done.stderr,
        "status": done.returncode,
        "seconds": time.monotonic() - began,
    }


def environment(name: str, **env: str) -> dict[str, Any]:
    """Return the variables that a command has in a kernel's environment."""
    done = run(name, ["env", "-0"], **env)
    pairs = (one.partition("=") for one in done["out"].split("\0") if one)
    return {**done, "out": "", "env": {name: value for name, _, value in pairs}}


def ask(name: str, cells: list[str], timeout: float = 60, **env: str) -> dict[str, Any]:
    """Start a kernel by jupyter_client, run cells, end it; what each of them gave."""
    from jupyter_client.manager import KernelManager

    manager = KernelManager(kernel_name=name)
    said = Path(os.environ["KERNELS"]) / f"{name}.said"
    died, alive = "", False
    answers: list[dict[str, Any]] = []
    with said.open("wb") as file:
        manager.start_kernel(env={**os.environ, **env}, stderr=file, stdout=file)
        client = manager.client()
        client.start_channels()
        try:
            client.wait_for_ready(timeout=timeout)
            answers.extend(_cell(client, cell, timeout) for cell in cells)
            alive = manager.is_alive()
        except (RuntimeError, TimeoutError) as error:
            died = str(error)
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)
            manager.cleanup_resources()
    return {"cells": answers, "died": died, "alive": alive, "said": said.read_text(errors="replace")}


def _cell(client: Any, code: str, timeout: float) -> dict[str, Any]:
    told: dict[str, Any] = {"text": "", "result": "", "error": None}

    def hook(message: dict[str, Any]) -> None:
        kind, content = message["msg_type"], message["content"]
        if kind == "stream":
            told["text"] += content["text"]
        elif kind == "execute_result":
            told["result"] = content["data"]["text/plain"]
        elif kind == "error":
            told["error"] = [content["ename"], content["evalue"], "\n".join(content["traceback"])]

    client.execute_interactive(code, timeout=timeout, output_hook=hook)
    return told


def shell(texts: dict[str, str]) -> dict[str, str]:
    """Run shell texts, each in an empty folder; what they print."""

    def one(text: str) -> str:
        command = ["/bin/bash", "-c", text]
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
            )
        return done.stdout

    with ThreadPoolExecutor(4) as pool:
        return dict(zip(texts, pool.map(one, texts.values()), strict=True))


def stacks() -> dict[str, Any]:
    """Return every stack that is found, as its data, or what is wrong with it."""
    from htcmagic.kernels import stack

    told = {}
    for name in stack.folders():
        try:
            known = dataclasses.asdict(stack.load(name))
            told[name] = {key: str(value) if isinstance(value, Path) else value for key, value in known.items()}
        except HTCMagicError as error:
            told[name] = {"error": str(error)}
    return told


def main() -> None:
    """Do one step after another."""
    steps = {"make": make, "run": run, "environment": environment, "ask": ask, "shell": shell, "stacks": stacks}
    print(json.dumps([steps[step](**values) for step, values in json.loads(sys.argv[1])]))


if __name__ == "__main__":
    main()
