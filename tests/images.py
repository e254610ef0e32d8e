"""Real images for tests, built once without root: Debian's packages in a folder, and variants of it as hard links.

They lie below ``build/images`` of the checkout, in a folder named after what they are made of, so that a test run finds
those of the run before; a user who may not write there makes some below ``/var/tmp``.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from htcmagic.pool import debian, programs, tools

SUITE = "bookworm"
SYSTEM = ("base-files", "bash", "dash", "coreutils", "sed", "grep", "libc-bin", "ca-certificates", "procps")
PYTHON = ("python3", "libstdc++6")
KERNEL = ("python3-ipykernel",)
NEEDLESS = re.compile(
    r"gdb|libicu|libboost|libdebuginfod|libbabeltrace|libcurl|libldap|libpython3\.11$|libsource-|perl|dpkg|debconf|ucf"
)
OLD = {
    "ipykernel-6.2": ("ipykernel==6.2.0",),
    "ipykernel-6.0": ("ipykernel==6.0.3",),
    "ipykernel-5": ("ipykernel==5.5.6",),
}
TESTED_WITH = ("ipython_genutils==0.2.0",)
ENVIRONMENT = {"IMAGE_SETS": "from the image", "PYTHONPATH": "/opt/image/lib", "TRICKY": 'a "value" $HOME'}
RECIPE = repr((SUITE, SYSTEM, PYTHON, KERNEL, NEEDLESS.pattern, OLD, TESTED_WITH, ENVIRONMENT, 5))
CHECKOUT = Path(__file__).parents[1]


def apptainer() -> Path:
    """Return the runtime; unpack it first if need be."""
    if named := os.environ.get("HTCMAGIC_APPTAINER"):
        return Path(named)
    found = programs.install(with_apptainer=True, report=lambda _: None).apptainer
    assert found is not None
    return found


@cache
def folder() -> Path:
    """Return the folder that holds the images; make it first if need be."""
    tag = hashlib.sha256(RECIPE.encode()).hexdigest()[:12]
    for base in (CHECKOUT / "build/images", Path(f"/var/tmp/htcmagic-images-{os.getuid()}")):
        if (base / tag / "done").exists():
            return base / tag
    for base in (CHECKOUT / "build/images", Path(f"/var/tmp/htcmagic-images-{os.getuid()}")):
        with contextlib.suppress(PermissionError), _alone(base):
            if not (base / tag / "done").exists():
                for old in base.iterdir():
                    if old.is_dir():
                        remove(old)
                _build(base, tag)
            return base / tag
    raise AssertionError("no folder can be written to")


def image(name: str) -> Path:
    """Return an image: ``kernel bare empty ipykernel-6.2 ipykernel-6.0 ipykernel-5 env`` or ``kernel.sif``."""
    found = folder() / name
    assert found.exists()
    return found


@contextlib.contextmanager
def _alone(base: Path) -> Iterator[None]:
    base.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(base / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _build(base: Path, tag: str) -> None:
    work = Path(tempfile.mkdtemp(prefix=".new-", dir=base))
    try:
        work.chmod(0o755)
        made = work / "made"
        made.mkdir()
        _packages(work, made)
        for name, wanted in OLD.items():
            _old(made, name, wanted)
        _env(made)
        _run(apptainer(), "build", made / "kernel.sif", made / "kernel")
        (made / "done").touch()
        made.rename(base / tag)
    finally:
        remove(work)


def _packages(work: Path, made: Path) -> None:
    """Unpack Debian's packages: ``empty`` has no python, ``bare`` no ipykernel, ``kernel`` both."""
    apt = debian._private_apt(work / "apt", debian._mirror(), SUITE)
    debian._apt(apt, "update", timeout=debian.UPDATE_SECONDS)
    archives = work / "archives"
    archives.mkdir()
    seen: set[str] = set()
    made_of: tuple[str, ...] = ()
    before = None
    for name, more in {"empty": SYSTEM, "bare": PYTHON, "kernel": KERNEL}.items():
        made_of += more
        image = made / name
        if before is None:
            image.mkdir(mode=0o755)
            _frame(image)
        else:
            _run("cp", "-al", before, image)
        listed = debian._apt(apt, "install", "--no-install-recommends", "-y", "--print-uris", *made_of)
        found = dict(re.findall(r"(?m)^'\S+' (([^_\s]+)_\S+\.deb) \d+", listed))
        new = {package for package in found.values() if package not in seen and not NEEDLESS.match(package)}
        seen |= new
        debian._apt(apt, "download", *sorted(new), timeout=debian.DOWNLOAD_SECONDS, cwd=archives)
        for archive in archives.iterdir():
            if archive.name.split("_")[0] in new:
                tools.run(f"Unpacking {archive.name}", "dpkg-deb", "-x", archive, image)
        if name != "empty":
            _run(
                apptainer(),
                "exec",
                "--writable",
                "--no-home",
                "--contain",
                image,
                "python3",
                "-m",
                "compileall",
                "-q",
                "-j2",
                "/usr/lib",
            )
        before = image


def _frame(image: Path) -> None:
    """Make what a package manager's first scripts would."""
    for name in (
        "usr/bin",
        "usr/sbin",
        "usr/lib",
        "usr/lib64",
        "etc",
        "tmp",
        "root",
        "home",
        "proc",
        "sys",
        "dev",
        "var/tmp",
    ):
        (image / name).mkdir(parents=True, exist_ok=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        (image / name).symlink_to(f"usr/{name}")
    (image / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/bash\n")
    (image / "etc/group").write_text("root:x:0:\n")
    for name in ("etc/hosts", "etc/resolv.conf", "etc/localtime"):
        (image / name).touch()


def _old(made: Path, name: str, wanted: tuple[str, ...]) -> None:
    """Put an older ipykernel before Debian's."""
    image = made / name
    _run("cp", "-al", made / "kernel", image)
    for old in (image / "usr/lib/python3/dist-packages").glob("ipykernel*"):
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    target = image / "usr/local/lib/python3.11/dist-packages"
    target.mkdir(parents=True, exist_ok=True)
    _run(
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-compile",
        "--target",
        target,
        *wanted,
        *TESTED_WITH,
    )
    _run(
        apptainer(),
        "exec",
        "--writable",
        "--no-home",
        "--contain",
        image,
        "python3",
        "-m",
        "compileall",
        "-q",
        "/usr/local/lib",
    )


def _env(made: Path) -> None:
    """Make an image that sets variables and has labels, from a folder that says so."""
    source = made / "env-source"
    _run("cp", "-al", made / "kernel", source)
    there = source / ".singularity.d/env"
    there.mkdir(parents=True)
    lines = [f"export {name}={shlex.quote(value)}" for name, value in ENVIRONMENT.items()]
    (there / "90-environment.sh").write_text("\n".join(["#!/bin/sh", *lines, ""]))
    (there / "90-environment.sh").chmod(0o755)
    (source / ".singularity.d/labels.json").write_text('{"org.example.what": "sets variables"}')
    _run(apptainer(), "build", "--sandbox", made / "env", source)
    shutil.rmtree(source)


def _run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"


def remove(work: Path) -> None:
    """Delete it even where packages have made folders that nobody may write to."""
    for where, _, _ in os.walk(work):
        with contextlib.suppress(OSError):
            Path(where).chmod(0o755)
    shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    print(folder())
