"""Workers of engines run where the notebook runs, or where they are told to: a kernel's set-up, a stack, packages."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys

import pytest
from engines import quiet, value
from kernels import sourcing

from htcmagic.engines import surroundings
from htcmagic.functions.place import Place
from htcmagic.kernels.environment import JobEnvironment

pytestmark = pytest.mark.slow

SETUP = "export WHERE='it is $HOME \"here\"'\nhtc_word=mine\nset -eu\ncd /\n"
ASK = "(lambda: [__import__('os').environ.get('WHERE'), __import__('os').environ.get('HTCMAGIC_HOME', '')])"


@pytest.fixture
def home(tmp_path, kernel):
    """Make a kernel of ours with a set-up; it is called mine."""
    folder = tmp_path / "it's a jupyter"
    sourcing(folder / "kernels", SETUP)
    kernel.run(f"import json, os, htcmagic; os.environ['JUPYTER_PATH'] = {str(folder)!r}")
    return kernel


def test_parsl_in_a_kernels_set_up(home, real):
    outcome = home.run(
        "import parsl\nconfig = htcmagic.engines.parsl(memory_gb=0.2, request_disk='50MB', kernel='mine', "
        "worker_init='export MORE=1')\nparsl.load(config)\n"
        f"@parsl.python_app\ndef ask():\n    import os\n    return [*{ASK}(), os.environ['MORE']]",
        60,
    )
    assert outcome.error is None, outcome.error[2]
    assert value(home, "ask().result()")[:1] == ['it is $HOME "here"']
    assert value(home, "ask().result()")[2] == "1"
    home.run("config.engine.stop()")
    assert quiet(real)


def test_dask_in_a_kernels_set_up(home, real):
    outcome = home.run("cluster = htcmagic.engines.dask(1, memory='250MB', disk='50MB', kernel='mine')", 60)
    assert outcome.error is None, outcome.error[2]
    assert value(home, f"cluster.client.submit({ASK}).result(40)")[0] == 'it is $HOME "here"'
    home.run("cluster.close()")
    assert quiet(real)


def test_ipyparallel_in_a_kernels_set_up(home, real):
    outcome = home.run("rc = htcmagic.engines.ipyparallel(1, memory='150MB', disk='50MB', kernel='mine')", 60)
    assert outcome.error is None, outcome.error[2]
    assert value(home, f"rc[0].apply_sync({ASK})")[0] == 'it is $HOME "here"'
    home.run("rc.engine.stop()")
    assert quiet(real)


def test_a_set_up_that_fails_is_told_by_parsl(tmp_path, kernel, real):
    folder = tmp_path / "jupyter"
    sourcing(folder / "kernels", "export WHERE=here\n", name="broken", python="/no/such/python")
    kernel.run(f"import json, os, htcmagic, parsl; os.environ['JUPYTER_PATH'] = {str(folder)!r}")
    kernel.run(
        "config = htcmagic.engines.parsl(memory_gb=0.2, request_disk='50MB', kernel='broken')\nparsl.load(config)\n"
        "@parsl.python_app\ndef ask():\n    return 1",
        60,
    )
    asked = kernel.run("ask().result()", 60)
    assert asked.error is not None
    assert "/no/such/python" in asked.error[2]
    kernel.run("config.engine.stop()")
    assert quiet(real)


def run(folder, text, *words, **env):
    script = folder / "a script.sh"
    script.write_text(text)
    command = ["bash", script.name, *words]
    return subprocess.run(
        command,
        cwd=folder,
        env={"PATH": os.defpath, "_CONDOR_SCRATCH_DIR": str(folder), **env},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_probe_tells_what_is_missing_and_what_cannot_be_reached(tmp_path):
    def probed(module, addresses="", python=sys.executable):
        place = surroundings.Surroundings(Place(python=python), module, str(tmp_path))
        return run(tmp_path, surroundings.script(place, [place.probe(addresses), "echo works"]))

    assert probed("json").stdout == "works\n"
    assert "there is no nosuchmodule in" in probed("nosuchmodule").stderr
    missing = probed("json", python="/no/such/python")
    assert (missing.returncode, missing.stdout) == (surroundings.REFUSED, "")
    assert "there is no /no/such/python on" in missing.stderr
    refused = probed("json", "127.0.0.1:9")
    assert refused.returncode == surroundings.REFUSED
    assert "cannot reach the notebook at 127.0.0.1:9: Connection refused" in refused.stderr
    assert probed("json", "[::1]:9 127.0.0.1:9").returncode == surroundings.REFUSED


def test_variables_of_an_image_and_the_notebooks_folder_come_along(tmp_path):
    environment = JobEnvironment("image", variables=(("GREETING", "it's $HOME"),), container_image="/an/image")
    place = surroundings.Surroundings(Place(sys.executable, environment), "json", str(tmp_path))
    show = '"$htc_python" -c "import json, os, sys; print(json.dumps([os.environ[\'GREETING\'], sys.path]))"'
    told = json.loads(run(tmp_path, surroundings.script(place, [show])).stdout)
    assert told[0] == "it's $HOME"
    assert str(tmp_path) in told[1]
    assert place.commands(here=False)["container_image"] == "/an/image"


def test_the_words_of_a_worker_are_its_last_or_ours():
    assert surroundings.last_words("a\nhtcmagic: there is no x\nb\n") == "there is no x"
    assert surroundings.last_words("a\n b \n\n") == "b"
    assert surroundings.last_words("") == ""
    assert shlex.split(surroundings.surroundings({}, "json").probe()) != []
