"""The oldest versions of engines that are said to work do; older ones are told in a line."""

from __future__ import annotations

import json
import site
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from engines import quiet, value
from kernels import started

from htcmagic.engines import versions

pytestmark = pytest.mark.slow

PARSL = "config = htcmagic.engines.parsl(memory_gb=0.2, request_disk='50MB')"
DASK = "cluster = htcmagic.engines.dask(1, memory='250MB', disk='50MB')"
IPYPARALLEL = "rc = htcmagic.engines.ipyparallel(1, memory='150MB', disk='50MB')"


def kernel_with(folder: Path, requirement: str) -> Path:
    """Make a kernel whose environment is this one, but for one package; return its folder."""
    environment, kernel = folder / "environment", folder / "older"
    python = environment / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    below = Path(sysconfig.get_path("purelib", vars={"base": str(environment)}))
    (below / "others.pth").write_text(f"import site; site.addsitedir({site.getsitepackages()[0]!r})\n")
    install = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check"]
    subprocess.run([*install, requirement], check=True)
    kernel.mkdir()
    argv = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernel / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "older", "language": "python"}))
    return kernel


def oldest(name: str) -> str:
    return versions.TESTED[name][0]


def test_the_oldest_parsl(pool, notebook_dir, real):
    with started(kernel_with(notebook_dir, f"parsl=={oldest('parsl')}.*")) as kernel:
        kernel.run(f"import json, parsl, htcmagic\n{PARSL}\nparsl.load(config)")
        kernel.run("@parsl.python_app\ndef ask():\n    import parsl\n    return parsl.__version__")
        assert value(kernel, "ask().result()").replace(".0", ".").startswith(oldest("parsl"))
        kernel.run("parsl.dfk().cleanup()")
        assert value(kernel, "config.engine.ended") is True
    assert quiet(real)


def test_the_oldest_ipyparallel(pool, notebook_dir, real):
    with started(kernel_with(notebook_dir, f"ipyparallel=={oldest('ipyparallel')}")) as kernel:
        outcome = kernel.run(f"import json, htcmagic\n{IPYPARALLEL}")
        assert outcome.error is None, outcome.error[2]
        asked = "rc[:].apply_sync(lambda: __import__('ipyparallel').__version__)"
        assert value(kernel, asked) == [oldest("ipyparallel")]
        kernel.run("rc.engine.stop()")
    assert quiet(real)


@pytest.mark.parametrize(
    ("requirement", "cell", "says"),
    [
        ("dask-jobqueue==0.8.5", DASK, "HTCMagicError: dask-jobqueue 0.8.5 is too old: tried are 0.9 to 0.9."),
        ("ipyparallel==8.8.0", IPYPARALLEL, "HTCMagicError: ipyparallel 8.8.0 is too old: tried are 9.0.2 to 9.2."),
        ("parsl==2024.6.3", PARSL, "HTCMagicError: Parsl 2024.6.3 is too old: tried are 2025.1 to 2026.10."),
    ],
    ids=["dask-jobqueue", "ipyparallel", "parsl"],
)
def test_what_is_too_old_is_told(pool, notebook_dir, requirement, cell, says):
    with started(kernel_with(notebook_dir, requirement)) as kernel:
        outcome = kernel.run(f"import htcmagic\n{cell}")
    assert outcome.error is not None
    told, install = outcome.error[2].splitlines()
    assert told == says
    assert install.startswith("%pip install 'htcmagic[")


def test_what_is_newer_than_tried_works_with_a_warning(pool, notebook_dir, monkeypatch):
    monkeypatch.setitem(versions.TESTED, "dask_jobqueue", ("0.1", "0.8"))
    with pytest.warns(UserWarning, match=r"dask-jobqueue 0\.9\.0 is newer than what we have tried: 0\.1 to 0\.8\."):
        assert versions.needed("dask_jobqueue").__name__ == "dask_jobqueue"
