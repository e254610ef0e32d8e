"""Container jobs on the personal pool: a real Apptainer, a real image."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from conftest import own_pool

from htcmagic.jobs import sending, submission
from htcmagic.jobs.cluster import attach
from htcmagic.jobs.rundir import RunDir
from htcmagic.pool import programs
from htcmagic.pool.client import client


@pytest.fixture
def folder():
    """Make a folder outside /tmp, over which Apptainer mounts its own."""
    made = Path(tempfile.mkdtemp(prefix="htcmagic-image-", dir="/var/tmp"))
    yield made
    shutil.rmtree(made)


def image(folder, apptainer):
    """Build a small image from programs of this machine."""
    root = folder / "root"
    for name in ("bin", "etc", "tmp", "proc", "dev", "sys", "var/tmp", "root", "home"):
        (root / name).mkdir(parents=True)
    for program in ("/bin/sh", "/bin/cat"):
        shutil.copy(program, root / "bin")
        needed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
        for library in re.findall(r"(/\S+)", needed):
            target = root / library.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library, target)
    (root / "etc/marker").write_text("inside the image\n")
    (root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\n")
    built = folder / "image"
    subprocess.run([apptainer, "build", "--sandbox", built, root], check=True, capture_output=True)
    return built


@pytest.mark.slow
def test_a_container_job_runs_inside_its_image(folder, tmp_path_factory):
    found = programs.install(with_apptainer=True, report=lambda _line: None)
    built = image(folder, found.apptainer)
    with own_pool(tmp_path_factory.mktemp("containers")) as (address, _):
        run_dir = RunDir.create()
        cell = (
            f"universe = container\ncontainer_image = {built}\ntransfer_executable = false\nexecutable = /bin/cat\n"
            "arguments = /etc/marker\nrequest_memory = 64MB\nqueue"
        )
        options = submission.Options(directory=str(folder))
        prepared = submission.prepare(cell, options, {}, client(address), run_dir)
        cluster = attach(run_dir, sending.send(prepared, client(address), run_dir).record)
        cluster.wait(60)
        assert cluster.stdout() == "inside the image\n"
        client(address).close()
