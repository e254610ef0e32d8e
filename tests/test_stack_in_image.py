"""A stack that is set up inside its image: DUNE's recipe, a look-alike of UPS, a real Apptainer, at the true paths."""

from __future__ import annotations

import json

import images
import pytest
from cvmfs import tree
from cvmfs.machine import Machine

IMAGE = "/cvmfs/singularity.opensciencegrid.org/fermilab/fnal-dev-sl7:latest"


@pytest.fixture
def machine(tmp_path):
    """Make a machine with DUNE's products, whose python is the image's, and with an image at the true place."""
    repositories = tree.build(tmp_path / "cvmfs")
    python = repositories / "dune.opensciencegrid.org/products/dune/python/v3_9_15"
    for link in (python / "bin").iterdir():
        link.unlink()
    (python / "bin/python3").symlink_to("/usr/bin/python3")
    for hidden in python.rglob("ipykernel.pth"):
        hidden.unlink()  # this checkout's: seen inside where the checkout is
    (python / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = true\n")
    image = repositories / IMAGE.removeprefix("/cvmfs/")
    image.parent.mkdir(parents=True, exist_ok=True)
    image.symlink_to(images.image("kernel"))
    made = Machine(repositories, tmp_path / "machine")
    made.env["HTCMAGIC_APPTAINER"] = str(images.apptainer())
    return made


def test_dune_is_set_up_inside_its_image(machine):
    made = machine.command("create", "--cvmfs", "dune", "--release", "v10_26_00d00")
    assert made.returncode == 0, made.stderr
    assert "ipykernel 6.17" in made.stdout
    checked = machine.command("check", "dune", "--json")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    verdict = json.loads(checked.stdout)
    assert "v3_9_15" in json.dumps(verdict)
    assert IMAGE in (machine.home / ".local/share/jupyter/kernels/dune/setup.sh").read_text()


def test_a_failed_set_up_inside_the_image_is_told(machine):
    made = machine.command("create", "--cvmfs", "dune", "--release", "v10_26_00d00", "--option", "qualifiers=e1:debug")
    assert made.returncode == 1
    assert "SETUP_DUNESW" in made.stderr
    assert not (machine.home / ".local/share/jupyter/kernels/dune").exists()
