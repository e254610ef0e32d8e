"""``htc-kernel check``: start a kernel, use it, end it in every way, and say what works and how long it takes."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager
from jupyter_core.paths import jupyter_runtime_dir

from htcmagic.errors import HTCMagicError, KernelError
from htcmagic.kernels import check_cells, stack
from htcmagic.kernels.check_talk import NoAnswer, Talk
from htcmagic.kernels.check_traces import Became, Traces
from htcmagic.kernels.check_verdict import Phase, Verdict, no_start, plain, recipe_of, start_failure, tail, told

TIMEOUT_S = 120.0
SERVER_WAITS_S = 60.0
"""What Jupyter's server and nbclient wait for a kernel unless told otherwise."""
GONE_S = 2.0
"""What may take so long is gone in time."""
INTERRUPT_S = 5.0


class _Failed(Exception):  # noqa: N818
    """Going on makes no sense; the phase is told already."""


def names() -> list[str]:
    """Return the names of all kernels that Jupyter sees here."""
    return sorted(KernelSpecManager().find_kernel_specs())


def check(
    name: str,
    *,
    timeout_s: float = TIMEOUT_S,
    quick: bool = False,
    kill: bool = True,
    report: Callable[[Phase], None] = lambda _phase: None,
) -> Verdict:
    """Start a kernel, use it and end it; nothing of it is left afterwards.

    Parameters
    ----------
    name : str
        Any kernel's, ours or not.
    timeout_s : float
        Longest time any one answer may take.
    quick : bool
        Whether to end after the first result and the stack's own test.
    kill : bool
        Whether to start it a second time, by a server that is then killed.
    report : callable
        Called with each phase when it is over.

    Raises
    ------
    KernelError
        There is no kernel of this name.
    """
    found = KernelSpecManager().find_kernel_specs()
    if name.lower() not in found:
        raise _unknown(name, found)
    running = _Check(Verdict(name, found[name.lower()]), timeout_s, report)
    try:
        with contextlib.suppress(_Failed):
            running.used(quick=quick)
            if kill and not quick:
                running.orphaned()
    finally:
        running.traces.clear()
    return running.verdict


def _unknown(name: str, found: dict[str, str]) -> KernelError:
    import difflib  # noqa: PLC0415

    near = difflib.get_close_matches(name.lower(), found, n=3)
    hint = f"Did you mean {' or '.join(near)}?" if near else f"There are: {', '.join(sorted(found)) or 'none'}."
    return KernelError(f"There is no kernel {name!r}.", hint=hint)


class _Check:
    """One check while it runs."""

    def __init__(self, verdict: Verdict, timeout_s: float, report: Callable[[Phase], None]) -> None:
        self.verdict, self.timeout_s, self.report = verdict, timeout_s, report
        self.traces = Traces(Path(jupyter_runtime_dir()))
        self.talk: Talk
        self.python = True

    # -- telling

    def ok(self, name: str, seconds: float | None = None, note: str = "") -> None:
        self._tell(Phase(name, "ok", seconds, note))

    def skipped(self, name: str, note: str) -> None:
        self._tell(Phase(name, "skipped", None, note))

    def failed(self, name: str, note: str, detail: list[str] | None = None, seconds: float | None = None) -> None:
        self._tell(Phase(name, "failed", seconds, note, tuple(detail or ())))

    def _tell(self, phase: Phase) -> None:
        self.verdict.phases.append(phase)
        self.report(phase)

    # -- the first start: everything a user does

    def used(self, *, quick: bool) -> None:
        """Start it, use it, and shut it down as a server does."""
        with tempfile.TemporaryFile() as said, self._managed(said) as manager:
            self._start(manager, said)
            self._first_result()
            self._verify()
            if quick:
                return
            self._completion()
            interrupted = self._interrupt(manager)
            self._restart(manager, said, now=not interrupted)
            self._shutdown(manager)
        self._leftovers()

    @contextlib.contextmanager
    def _managed(self, said: IO[bytes]) -> Iterator[KernelManager]:
        manager = KernelManager(kernel_name=self.verdict.kernel, connection_file=self.traces.connection_file(1))
        begun = time.monotonic()
        try:
            manager.start_kernel(stdout=said, stderr=said, env=self.traces.environment)
        except Exception as error:  # noqa: BLE001 - a provisioner may raise anything
            self.failed("kernel_info", start_failure(error, self.verdict.kernel))
            manager.cleanup_resources()
            raise _Failed from None
        became = self._note(manager, begun)
        self.talk = Talk(manager.connection_file, manager.is_alive)
        self._begun, self._became = begun, became
        try:
            yield manager
        finally:
            became.stop()
            self.talk.close()
            if manager.has_kernel:
                manager.shutdown_kernel(now=True)
            manager.cleanup_resources()

    def _note(self, manager: KernelManager, begun: float) -> Became:
        pid = getattr(manager.provisioner, "pid", None) or 0
        self.traces.note(pid)
        return Became(pid, begun)

    def _start(self, manager: KernelManager, said: IO[bytes]) -> None:
        try:
            info = self.talk.ready(self.timeout_s)
        except NoAnswer as error:
            self.failed("kernel_info", no_start(error, manager, self.timeout_s), tail(said))
            raise _Failed from None
        whole, setup = time.monotonic() - self._begun, self._became.stop()
        if setup is not None:
            self.ok("set-up", setup)
        language = info.get("language_info", {}).get("name", "")
        self.python = language == "python"
        self.verdict.versions = {
            "language": f"{language} {info.get('language_info', {}).get('version', '')}".strip(),
            "implementation": f"{info.get('implementation', '')} {info.get('implementation_version', '')}".strip(),
            "protocol": info.get("protocol_version", ""),
        }
        slow = f"slower than the {SERVER_WAITS_S:.0f} s that Jupyter's server waits" if whole > SERVER_WAITS_S else ""
        self.ok("kernel_info", whole - (setup or 0.0), slow)

    def _first_result(self) -> None:
        """Run the first cell: versions for python, nothing at all for other languages."""
        answer = self._run("result", check_cells.WHO if self.python else "")
        if answer.error is not None:
            name, value, traceback = answer.error
            if name == "KernelNotStarted":  # our diagnostic kernel answers in its place
                self.failed("result", f"the kernel could not start: {value}", plain(traceback)[1:-1])
            else:
                self.failed("result", f"{name}: {value}", plain(traceback))
            raise _Failed
        if not self.python:
            self.ok("result", answer.seconds, f"an empty cell of {self.verdict.versions['language']}")
            return
        said = told(answer.text) or {}
        self.verdict.versions |= {key: str(value) for key, value in said.items() if value}
        has = self.verdict.versions
        note = f"Python {has.get('python')}, ipykernel {has.get('ipykernel', 'none')}, {has.get('executable')}"
        self.ok("result", answer.seconds, note)

    def _run(self, phase: str, code: str) -> Any:
        try:
            return self.talk.run(code, self.timeout_s)
        except NoAnswer as error:
            self.failed(phase, f"{error} within {self.timeout_s:g} s" if str(error) == "no answer" else str(error))
            raise _Failed from None

    def _verify(self) -> None:
        name = recipe_of(self.verdict.folder).get("stack", "")
        if not name:
            return
        file = Path(self.verdict.folder) / "verify.py"
        try:
            file = file if file.is_file() else stack.load(name).folder / "verify.py"
            code = file.read_text(encoding="utf-8")
        except (OSError, HTCMagicError):
            self.skipped("verify", f"the stack {name} has no verify.py here")
            return
        answer = self._run("verify", code)
        if answer.error is not None:
            self.failed("verify", f"{file}: {answer.error[0]}: {answer.error[1]}", plain(answer.error[2]))
        else:
            lines = answer.text.strip().splitlines()
            self.ok("verify", answer.seconds, lines[-1] if lines else str(file))

    def _completion(self) -> None:
        if not self.python:
            return
        cell, begun, whole = check_cells.COMPLETED
        self._run("completion", cell)
        start = time.monotonic()
        try:
            offered = self.talk.complete(begun, self.timeout_s)
        except NoAnswer as error:
            self.failed("completion", str(error))
            return
        if whole in offered:
            self.ok("completion", time.monotonic() - start)
        else:
            self.failed("completion", f"{begun} is not completed: the kernel offers {offered[:5] or 'nothing'}")

    def _interrupt(self, manager: KernelManager) -> bool:
        """Interrupt a sleeping cell; whether the kernel can be used afterwards."""
        if not self.python:
            self.skipped("interrupt", "not a python kernel")
            return True
        sent: list[float] = []

        def heard(text: str) -> None:
            if not sent and "htcmagic:begun" in text:
                time.sleep(0.1)  # it says so just before it sleeps
                sent.append(time.time())
                manager.interrupt_kernel()

        try:
            answer = self.talk.run(check_cells.INTERRUPTED, min(INTERRUPT_S, self.timeout_s), heard=heard)
        except NoAnswer as error:
            self.failed(
                "interrupt", "the kernel goes on as if nothing were" if str(error) == "no answer" else str(error)
            )
            return False
        seen = told(answer.text.partition("htcmagic:begun")[2]) or []
        if answer.error is not None or len(seen) != 1:
            times = len(seen) if answer.error is None else "more than once"
            self.failed("interrupt", f"one interrupt arrived {times if isinstance(times, str) else f'{times} times'}")
        else:
            self.ok("interrupt", max(0.0, seen[0] - sent[0]), "one KeyboardInterrupt")
        return True

    def _restart(self, manager: KernelManager, said: IO[bytes], *, now: bool) -> None:
        if not now and self.python:
            self._run("restart", check_cells.SET)
        begun = time.monotonic()
        manager.restart_kernel(now=now)
        self._note(manager, begun).stop()
        self.talk.close()  # as a server does: what was sent to the old kernel is not for the new one
        self.talk = Talk(manager.connection_file, manager.is_alive)
        try:
            self.talk.ready(self.timeout_s)
        except NoAnswer as error:
            self.failed("restart", no_start(error, manager, self.timeout_s), tail(said))
            raise _Failed from None
        seconds = time.monotonic() - begun
        if self.python and "htcmagic:new" not in self._run("restart", check_cells.KEPT).text:
            self.failed("restart", "it is still the old kernel")
        else:
            self.ok("restart", seconds)

    def _shutdown(self, manager: KernelManager) -> None:
        begun = time.monotonic()
        manager.shutdown_kernel()
        seconds = time.monotonic() - begun
        if seconds >= manager.shutdown_wait_time:
            self.failed("shutdown", "it had to be killed", seconds=seconds)
        else:
            asked = seconds < manager.shutdown_wait_time / 2
            self.ok("shutdown", seconds, "" if asked else "only after SIGTERM")

    def _leftovers(self) -> None:
        left = [f"process {one.pid}: {' '.join(one.words) or one.name}" for one in self.traces.wait_gone(GONE_S)]
        left += [f"file {file}" for file in self.traces.files()]
        if left:
            self.failed("leftovers", "something is left after the shutdown", left)
        else:
            self.ok("leftovers", note="none")

    # -- the second start: a server that is killed

    def orphaned(self) -> None:
        """Start it by a server that is killed, and see whether all of it goes."""
        connection_file = self.traces.connection_file(2)
        words = [sys.executable, "-m", "htcmagic.kernels.check_server", self.verdict.kernel, connection_file]
        with (
            tempfile.TemporaryFile() as said,
            subprocess.Popen(
                words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                env=self.traces.environment,
                start_new_session=True,
            ) as server,
        ):
            try:
                self._killed(server, connection_file, said)
            finally:
                server.kill()

    def _killed(self, server: subprocess.Popen[bytes], connection_file: str, said: IO[bytes]) -> None:
        if server.stdout is None:
            raise AssertionError
        line = server.stdout.readline().split()  # at its end, or when it has failed
        if not line:
            self.failed("kill", "it does not start a second time", tail(said))
            raise _Failed
        self.traces.note(int(line[1]))
        self.talk = Talk(connection_file, lambda: server.poll() is None)
        try:
            self.talk.ready(self.timeout_s)
        except NoAnswer as error:
            self.failed("kill", f"the second start: {error}", tail(said))
            raise _Failed from None
        finally:
            self.talk.close()
        count = len([one for one in self.traces.processes() if one.pid != server.pid])
        begun = time.monotonic()
        server.kill()
        server.wait()
        left = self.traces.wait_gone()
        seconds = time.monotonic() - begun
        if left:
            lines = [f"process {one.pid}: {' '.join(one.words) or one.name}" for one in left]
            self.failed("kill", f"{seconds:.0f} s after its server was killed, the kernel still runs", lines)
        else:
            gone = f"{count} process{'es' if count > 1 else ''} gone"
            self.ok("kill", seconds, gone if seconds <= GONE_S else f"{gone}, later than the {GONE_S:g} s it should be")
