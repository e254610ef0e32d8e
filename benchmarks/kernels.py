"""Kernels of ours beside a plain one: from start_kernel to the first result."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from report import Row

if TYPE_CHECKING:
    from cases import Size
    from pool import Bench

ROOT = Path(__file__).resolve().parents[1]
SLOW_S = 10
"""What a set-up takes that a snapshot is made of."""


def kernels(bench: Bench, size: Size) -> list[Row]:
    """Start kernels of each kind, in turns with the plain one."""
    with jupyter(bench.folder / "jupyter"):
        return [*starts(bench.folder, size), *commands(bench.folder, size)]


def starts(folder: Path, size: Size) -> list[Row]:
    """Time the start of a kernel through a wrapper, from a snapshot, in an image folder, in an image file."""
    quick, slow = folder / "quick.sh", folder / "slow.sh"
    path = f"PATH={sys.prefix}/bin:$PATH"
    quick.write_text(f"export QUICK=1\n{path}\n")
    slow.write_text(f"sleep {SLOW_S}\nexport SLOW=1\n{path}\n")
    create("--name", "quick", "--source", str(quick))
    create("--name", "slow", "--source", str(slow), "--snapshot")
    images = image_pair(folder)
    for name, image in images.items():
        create("--name", name, "--container", str(image))
    first("slow")  # this one sets up for real and leaves the snapshot
    bounds = {"quick": 1.1, "slow": 1.15, "sandbox": 1.6, "sif": 2.5}
    told = {
        "quick": "kernel through setup.sh, to the first result | plain ipykernel",
        "slow": f"the same, snapshot of a {SLOW_S} s set-up | plain ipykernel",
        "sandbox": "kernel in an Apptainer folder | plain ipykernel",
        "sif": "kernel in a SIF file | plain ipykernel",
    }
    seconds: dict[str, list[float]] = {"python3": [], **{name: [] for name in bounds}}
    for _ in range(size.runs):
        for name, values in seconds.items():
            values.append(first(name))
    plain = tuple(seconds["python3"])
    return [Row(told[name], tuple(seconds[name]), plain, bound=bound) for name, bound in bounds.items()]


def commands(folder: Path, size: Size) -> list[Row]:
    """Time the command itself, with fifty kernels there."""
    quick = str(folder / "quick.sh")
    made = []
    for number in range(50):
        began = time.perf_counter()
        create("--name", f"made{number}", "--source", quick, "--no-probe")
        made.append(time.perf_counter() - began)
    listed = []
    for _ in range(size.runs):
        began = time.perf_counter()
        done = htc_kernel("list")
        listed.append(time.perf_counter() - began)
        assert "made49" in done.stdout
    return [
        Row("htc-kernel create --no-probe", tuple(made), bound=0.5, of="ours"),
        Row("htc-kernel list, 50 kernels", tuple(listed), bound=0.3, of="ours"),
    ]


def first(name: str) -> float:
    """Start a kernel, run one cell, shut it down; the seconds to the cell's reply."""
    from jupyter_client.manager import KernelManager  # noqa: PLC0415

    began = time.perf_counter()
    manager = KernelManager(kernel_name=name)
    manager.start_kernel(stderr=subprocess.DEVNULL)
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        reply = client.execute_interactive("1 + 1", timeout=60, output_hook=lambda _message: None)
        assert reply["content"]["status"] == "ok", reply["content"]
        return time.perf_counter() - began
    finally:
        client.stop_channels()
        manager.shutdown_kernel()
        manager.cleanup_resources()


def htc_kernel(*words: str) -> subprocess.CompletedProcess[str]:
    """Run htc-kernel."""
    done = subprocess.run(
        [Path(sys.executable).with_name("htc-kernel"), *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


def create(*words: str) -> None:
    """Make a kernel."""
    htc_kernel("create", *words)


def image_pair(folder: Path) -> dict[str, Path]:
    """Build an image with the ipykernel of this environment, as a folder and as a file."""
    sys.path.insert(0, str(ROOT / "tests"))
    import images  # noqa: PLC0415

    sandbox, sif = folder / "image", folder / "image.sif"
    packages = sandbox / "usr/local/lib/python3.11/dist-packages"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--target", str(packages)]
    runtime = str(images.apptainer())
    inside = [runtime, "exec", "--writable", "--no-home", "--contain", str(sandbox)]
    for command in (
        ["cp", "-a", str(images.image("bare")), str(sandbox)],
        [*pip, f"ipykernel=={version('ipykernel')}"],
        [*inside, "python3", "-m", "compileall", "-q", "/usr/local/lib"],
        [runtime, "build", str(sif), str(sandbox)],
    ):
        subprocess.run(command, check=True, capture_output=True)
    return {"sandbox": sandbox, "sif": sif}


@contextmanager
def jupyter(folder: Path) -> Iterator[None]:
    """Keep kernels in a folder of their own."""
    before = os.environ.get("JUPYTER_DATA_DIR")
    os.environ["JUPYTER_DATA_DIR"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["JUPYTER_DATA_DIR"]
        else:
            os.environ["JUPYTER_DATA_DIR"] = before
        shutil.rmtree(folder, ignore_errors=True)
