"""htc-kernel check: real kernels, good and bad, and nothing of them left."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from foreign import Kernels, own_kernels, related, run, until

from htcmagic.errors import KernelError
from htcmagic.kernels import check, create

LISP = """
from ipykernel.kernelapp import IPKernelApp
from ipykernel.kernelbase import Kernel

class Lisp(Kernel):
    implementation = implementation_version = banner = "lisp"
    language_info = {"name": "lisp", "file_extension": ".l", "mimetype": "text/x-lisp"}

    async def do_execute(self, code, silent, *_, **__):
        return {"status": "ok", "execution_count": 1, "payload": [], "user_expressions": {}}

IPKernelApp.launch_instance(kernel_class=Lisp)
"""
DEAF = """
from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelapp import IPKernelApp

class Deaf(IPythonKernel):
    async def interrupt_request(self, stream, ident, parent):
        pass

IPKernelApp.launch_instance(kernel_class=Deaf)
"""


@pytest.fixture
def kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernels]:
    with own_kernels(tmp_path, monkeypatch) as made:
        yield made


def states(verdict: check.Verdict) -> dict[str, str]:
    return {phase.name: phase.state for phase in verdict.phases}


def phase(verdict: check.Verdict, name: str) -> check.Phase:
    return next(one for one in verdict.phases if one.name == name)


def test_a_good_kernel_passes_every_phase_and_leaves_nothing(kernels: Kernels, tmp_path: Path):
    kernels.add("good")
    told: list[check.Phase] = []
    verdict = check.check("good", report=told.append)
    wanted = "kernel_info result completion interrupt restart shutdown leftovers kill"
    assert states(verdict) == dict.fromkeys(wanted.split(), "ok"), verdict
    assert told == verdict.phases
    assert verdict.ok
    assert verdict.versions["executable"] == sys.executable
    assert verdict.versions["python"] == sys.version.split()[0]
    assert phase(verdict, "interrupt").note == "one KeyboardInterrupt"
    assert all(one.seconds is not None for one in verdict.phases if one.name != "leftovers")
    assert list((tmp_path / "runtime").iterdir()) == []


def test_a_wrapper_that_does_not_exec_is_found_out_and_ended(kernels: Kernels, tmp_path: Path):
    kernels.wrapped("stays", '#!/bin/bash\nPYTHON -m ipykernel_launcher "$@"\n')
    done = run("check", "stays", "--json")
    assert done.returncode == 1, done.stderr
    told = json.loads(done.stdout)
    assert not told["ok"]
    failed = [one for one in told["kernels"][0]["phases"] if one["state"] == "failed"]
    assert [one["name"] for one in failed] == ["kill"]
    assert any("ipykernel_launcher" in line for line in failed[0]["detail"])
    assert related(str(tmp_path)) == []


def test_ours_passes_with_its_set_up_timed_and_its_stack_tested(kernels: Kernels):
    verify = "import os\nassert os.environ['TOY'] == 'yes'\nprint('toys are here')\n"
    kernels.stack("toy", "sleep 0.3\nexport TOY=yes\n", verify, markers=["TOY"], python=sys.executable)
    create.create(kernels=kernels.folder, ask=False, cvmfs="toy")
    verdict = check.check("toy")
    assert verdict.ok, verdict
    assert phase(verdict, "verify").note == "toys are here"
    assert (phase(verdict, "set-up").seconds or 0) >= 0.3
    assert phase(verdict, "kill").state == "ok"


def test_a_stack_whose_own_test_fails_is_told(kernels: Kernels):
    kernels.stack("toy", "export TOY=yes\n", "import no_such_module_at_all\n", python=sys.executable)
    create.create(kernels=kernels.folder, ask=False, cvmfs="toy")
    done = run("check", "--quick", "toy")
    assert done.returncode == 1
    assert "No module named 'no_such_module_at_all'" in done.stdout
    assert "toy has trouble: stack's test. htc-kernel doctor toy may tell why." in done.stdout


def test_a_set_up_that_fails_is_told_in_the_words_of_the_diagnostic_kernel(kernels: Kernels):
    kernels.stack("toy", "echo this is why\nfalse\n", markers=["TOY"], python=sys.executable)
    create.create(kernels=kernels.folder, ask=False, cvmfs="toy")
    verdict = check.check("toy", quick=True)
    assert not verdict.ok
    failed = phase(verdict, "result")
    assert "TOY is not set" in failed.note
    assert any("this is why" in line for line in failed.detail)


def test_a_kernel_that_ends_at_once_is_told_with_what_it_said(kernels: Kernels):
    kernels.wrapped("ends", "#!/bin/bash\necho 'no such release' >&2\nexit 3\n")
    verdict = check.check("ends")
    assert phase(verdict, "kernel_info").note.endswith("exit status 3")
    assert "no such release" in phase(verdict, "kernel_info").detail
    assert len(verdict.phases) == 1


def test_a_kernel_that_never_answers_is_given_up_and_ended(kernels: Kernels, tmp_path: Path):
    kernels.wrapped("mute", "#!/bin/bash\nsleep 600\n")
    verdict = check.check("mute", timeout_s=1)
    assert phase(verdict, "kernel_info").note == "no answer within 1 s"
    assert related(str(tmp_path)) == []


def test_what_outlives_the_shutdown_is_named_and_ended(kernels: Kernels, tmp_path: Path):
    script = '#!/bin/bash\nsetsid sleep 611 &\nexec PYTHON -m ipykernel_launcher "$@"\n'
    kernels.wrapped("litters", script)
    verdict = check.check("litters", kill=False)
    assert phase(verdict, "leftovers").state == "failed"
    assert any("sleep 611" in line for line in phase(verdict, "leftovers").detail)
    assert related(str(tmp_path)) == []


def test_interrupts_that_come_twice_are_counted(kernels: Kernels):
    script = """#!/bin/bash
trap 'sleep 0.1; kill -INT $child' INT
PYTHON -m ipykernel_launcher "$@" &
child=$!
until wait $child; [ ! -e /proc/$child ]; do :; done
"""
    kernels.wrapped("twice", script.replace("PYTHON -m", "( trap - INT; exec PYTHON -m").replace('"$@" &', '"$@" ) &'))
    verdict = check.check("twice", kill=False)
    assert phase(verdict, "interrupt").state == "failed", verdict
    assert "one interrupt arrived" in phase(verdict, "interrupt").note


def test_interrupts_that_do_nothing_are_told_and_the_kernel_still_restarts(kernels: Kernels):
    kernels.add("deaf", [sys.executable, "-c", DEAF, "-f", "{connection_file}"], interrupt_mode="message")
    verdict = check.check("deaf", kill=False)
    assert phase(verdict, "interrupt").note == "the kernel goes on as if nothing were"
    assert phase(verdict, "restart").state == "ok"


def test_other_languages_are_started_and_ended(kernels: Kernels):
    kernels.add("lisp", [sys.executable, "-c", LISP, "-f", "{connection_file}"], language="lisp")
    verdict = check.check("lisp", kill=False)
    assert verdict.ok, verdict
    assert states(verdict)["interrupt"] == "skipped"
    assert verdict.versions["language"] == "lisp"


def test_a_kernel_that_jupyter_hides_says_so(kernels: Kernels):
    kernels.add("hidden", metadata={"kernel_provisioner": {"provisioner_name": "no-such-thing"}})
    verdict = check.check("hidden")
    assert "provisioner" in phase(verdict, "kernel_info").note


def test_quick_ends_after_the_first_result(kernels: Kernels):
    kernels.add("good")
    done = run("check", "--quick", "good")
    assert done.returncode == 0, done.stdout
    assert "first result" in done.stdout
    assert "restart" not in done.stdout
    assert done.stdout.endswith("good works.\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["god"], "Did you mean good?"),
        ([], "Name kernels, or --all."),
        (["good", "--timeout", "0"], "a number of seconds"),
    ],
)
def test_wrong_usage_has_status_2(kernels: Kernels, words: list[str], said: str):
    kernels.add("good")
    done = run("check", *words)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_kernel_is_an_error_with_near_names(kernels: Kernels):
    kernels.add("good")
    with pytest.raises(KernelError, match="Did you mean good"):
        check.check("godo")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_nothing_is_left_of_a_check_that_is_ended(kernels: Kernels, tmp_path: Path, number: signal.Signals):
    kernels.wrapped("stays", '#!/bin/bash\nPYTHON -m ipykernel_launcher "$@"\n')
    started = subprocess.Popen(
        [sys.executable, "-m", "htcmagic.cli.kernel", "check", "stays"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    until(lambda: any("ipykernel_launcher" in one.words for one in related(str(tmp_path))))
    started.send_signal(number)
    _, said = started.communicate(timeout=30)
    assert started.returncode in {128 + number, -number}
    assert b"Traceback" not in said, said
    assert related(str(tmp_path)) == []
    assert list((tmp_path / "runtime").iterdir()) == []
