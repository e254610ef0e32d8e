"""``%%condor_script`` for a kernel in an image: HTCondor starts the image, a real one, by a real Apptainer."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import images
import pytest
from conftest import Kernel
from pools import at_home

from htcmagic.kernels import kernelspec
from htcmagic.kernels.recipe import Container, Recipe
from htcmagic.kernels.stack import Stack

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def notebook(tmp_path_factory):
    """Start a kernel whose personal pool has Apptainer, with a folder of kernels on Jupyter's path."""
    images.apptainer()
    folder = tmp_path_factory.mktemp("notebook")
    with at_home(tmp_path_factory.mktemp("home")):
        started = Kernel(folder)
        try:
            started.run(f"import json, os; os.environ['JUPYTER_PATH'] = {str(folder)!r}")
            assert started.run("%load_ext htcmagic").error is None
            started.folder = folder
            yield started
        finally:
            started.stop()


def install(notebook, name, *, data=None, **recipe):
    image = str(images.image("kernel"))
    box = Container(image, image, str(images.apptainer()))
    made = Recipe(name=name, title=name, creator=sys.executable, container=box, **recipe)
    folder = Path(notebook.folder) / "kernels" / name
    folder.mkdir(parents=True)
    for file, content in kernelspec.contents(made, data, None, "htc-kernel create").items():
        (folder / file).write_bytes(content)
    (folder / "setup.sh").chmod(0o755)


def value(kernel, expression):
    outcome = kernel.run(f"print(json.dumps({expression}))", 90)
    assert outcome.error is None, outcome.error[2]
    return json.loads(outcome.text)


def output(notebook, cell):
    """Submit, wait, and return what each job wrote."""
    sent = notebook.run(cell)
    assert sent.error is None, sent.error[2]
    waited = notebook.run("c.wait(90)", 120)
    assert waited.error is None, waited.error[2]
    assert value(notebook, "c.status['failed']") == 0, value(notebook, "c.stderr()")
    return value(notebook, "[job.stdout() for job in c]")


def test_a_script_runs_in_the_image_of_a_kernel(notebook):
    install(notebook, "boxed", settings=(("COLOUR", "deep 'blue' $x"),))
    notebook.run("values = ['a b', 'it\\'s $(x) `x` \\\\ é']")
    told = output(
        notebook,
        "%%condor_script --over values --kernel boxed -o c\n#!/bin/sh\n"
        'echo "${APPTAINER_CONTAINER##*/}, $COLOUR, $PYTHONNOUSERSITE, <$item> <$1>"',
    )
    assert told == [f"kernel, deep 'blue' $x, 1, <{item}> <{item}>\n" for item in ("a b", "it's $(x) `x` \\ é")]


def test_values_beyond_htcondor_get_into_the_image(notebook):
    install(notebook, "lines")
    notebook.run("values = ['a\\nb']")
    told = output(
        notebook, '%%condor_script --over values --kernel lines -o c\necho "${APPTAINER_CONTAINER##*/} <$item>"'
    )
    assert told == ["kernel <a\nb>\n"]


def test_a_stack_is_set_up_inside_the_image(notebook):
    setup = (
        'echo "set up in $(. /etc/os-release; echo $ID)"\nexport STACK_VERSION=v7 mass=spoilt\n'
        'mkdir -p "$HTCMAGIC_HOME/bin"; PATH=$HTCMAGIC_HOME/bin:$PATH\n'
        "printf '#!/bin/sh\\necho tool of $STACK_VERSION\\n' >\"$HTCMAGIC_HOME/bin/tool\"\n"
        'chmod +x "$HTCMAGIC_HOME/bin/tool"\n'
    )
    stack = Stack("demo", "Demo", Path("/nowhere"), kind="container", markers=("STACK_VERSION",), setup=setup)
    install(notebook, "stacked", data=stack, stack="demo", settings=(("COLOUR", "blue"),))
    notebook.run("masses = [{'mass': 'one $x'}, {'mass': 'two\\n'}]")
    told = output(
        notebook,
        "%%condor_script --over masses --kernel stacked -o c\n"
        'echo "${APPTAINER_CONTAINER##*/}: $(tool), <$mass>, $COLOUR"; echo > made_in_the_image.txt',
    )
    assert told == [f"kernel: tool of v7, <{mass}>, blue\n" for mass in ("one $x", "two\n")]
    assert "set up in debian" in value(notebook, "c.stderr()")
    assert (Path(notebook.folder) / "made_in_the_image.txt").exists()


def test_a_set_up_that_fails_inside_the_image_is_the_jobs_error(notebook):
    stack = Stack("sad", "Sad", Path("/nowhere"), kind="container", markers=("STACK_VERSION",), setup="true\n")
    install(notebook, "sad", data=stack, stack="sad")
    notebook.run("%%condor_script --kernel sad -o c\necho not reached")
    notebook.run("c.wait(90)", 120)
    error = notebook.run("c[0].result()").error
    assert error[0] == "JobFailed"
    assert "did not start: kernel sad: the set-up did not work: STACK_VERSION is not set after it" in error[1]
