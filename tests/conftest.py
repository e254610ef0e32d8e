"""A real personal pool for the whole run, a shell with the magics, a real kernel; all of it gone at the end."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty
from typing import Any

import pytest

REAL_HOME = Path(os.environ.get("HTCMAGIC_HOME", Path.home() / ".local/share/htcmagic"))
"""Where the set-up has put HTCondor's programs: unpacked once, used by every test run."""

for _name in list(os.environ):
    if _name.upper().startswith(("_CONDOR_", "CONDOR_CONFIG")):
        del os.environ[_name]  # whatever pool this machine belongs to, the tests bring their own

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # hundreds of kernels need not compile the same modules

from htcmagic import places  # noqa: E402
from htcmagic.pool import personal, programs, resolve  # noqa: E402

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # started in the background: what tests interrupt must hear it
    signal.signal(signal.SIGINT, signal.default_int_handler)


def use_home(home: Path) -> None:
    """Make `home` this process's htcmagic folder, with the programs that the set-up has unpacked."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.environ["HTCMAGIC_HOME"] = str(home)
    os.environ.setdefault("HTCMAGIC_PROGRAMS", str(REAL_HOME / "programs"))


@pytest.fixture(scope="session", autouse=True)
def session_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep everything that tests write below a folder of their own."""
    home = tmp_path_factory.mktemp("home")
    use_home(home)
    yield home
    personal.down(purge=True)
    assert leftovers(places.pool_dir()) == []


@pytest.fixture(scope="session")
def pool(session_home: Path) -> Iterator[Any]:
    """Start a real personal HTCondor pool; its address."""
    if programs.find() is None:
        pytest.fail("HTCondor's programs are missing. Run: make setup")
    yield resolve.personal_pool()
    personal.down(purge=True)


@contextlib.contextmanager
def own_pool(home: Path) -> Iterator[tuple[Any, dict[str, str]]]:
    """Run a second personal pool below `home`; its address, and the environment of HTCondor's programs for it."""
    before = os.environ["HTCMAGIC_HOME"]
    use_home(home)
    try:
        address, env = resolve.personal_pool(), personal.environment()
        os.environ["HTCMAGIC_HOME"] = before
        yield address, env
    finally:
        use_home(home)
        personal.down(purge=True)
        left = leftovers(places.pool_dir())
        os.environ["HTCMAGIC_HOME"] = before
        assert left == []


def leftovers(folder: Path) -> list[str]:
    """Return the command lines of processes that belong to a pool's folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                env = (entry / "environ").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if f"CONDOR_CONFIG={folder}/" in env and "HTCMAGIC_POOL_DAEMON=1" in env:
                found.append(words)
    return found


@pytest.fixture
def notebook_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in an empty folder, as a notebook does in its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def real(pool: Any) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run one of HTCondor's own programs on the pool."""

    def run(*command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        found = programs.find()
        assert found is not None
        done = subprocess.run(
            [str(found.program(command[0])), *command[1:]],
            env=personal.environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert not check or done.returncode == 0, done.stderr
        return done

    return run


class Outcome:
    """What a cell gave."""

    def __init__(self) -> None:
        self.text = ""
        self.data: list[dict[str, str]] = []
        self.updates: list[dict[str, str]] = []
        self.error: tuple[str, str, str] | None = None

    @property
    def result(self) -> str:
        """The text form of what the cell returned or displayed last."""
        return self.data[-1]["text/plain"] if self.data else ""


class Kernel:
    """A real IPython kernel of this environment."""

    def __init__(self, folder: Path) -> None:
        for left in (2, 1, 0):
            try:
                self._start(folder)
            except RuntimeError:  # Jupyter chooses ports first and binds them later: another kernel may be faster
                self.stop()
                if not left:
                    raise
            else:
                return

    def _start(self, folder: Path) -> None:
        from jupyter_client.manager import KernelManager

        self.manager = KernelManager(kernel_name="python3")
        self.manager.start_kernel(cwd=str(folder), extra_arguments=["--log-level=ERROR"])
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    def run(self, code: str, timeout: float = 60, *, send_only: bool = False) -> Outcome:
        """Execute a cell and collect its output."""
        self.message = self.client.execute(code)
        return Outcome() if send_only else self.collect(timeout)

    def collect(self, timeout: float = 60) -> Outcome:
        """Collect the output of the cell sent last."""
        outcome = Outcome()
        while True:
            try:
                message = self.client.get_iopub_msg(timeout=timeout)
            except Empty:
                pytest.fail(f"no answer from the kernel within {timeout} s; so far: {outcome.text}")
            kind, content = message["msg_type"], message["content"]
            if kind == "update_display_data":
                outcome.updates.append(content["data"])
            if message["parent_header"].get("msg_id") != self.message:
                continue
            if kind == "stream":
                outcome.text += content["text"]
            elif kind in {"execute_result", "display_data"}:
                outcome.data.append(content["data"])
            elif kind == "error":
                outcome.error = (content["ename"], content["evalue"], "\n".join(content["traceback"]))
            elif kind == "status" and content["execution_state"] == "idle":
                return outcome

    def stop(self) -> None:
        """End it."""
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
        self.manager.cleanup_resources()


@pytest.fixture
def kernel(pool: Any, notebook_dir: Path) -> Iterator[Kernel]:
    """Start a real kernel with the magics loaded, in an empty folder."""
    started = Kernel(notebook_dir)
    try:
        outcome = started.run("%load_ext htcmagic")
        assert outcome.error is None, outcome.error
        yield started
    finally:
        started.stop()


@pytest.fixture
def start_kernel(pool: Any, notebook_dir: Path) -> Iterator[Callable[[], Kernel]]:
    """Start as many kernels as a test wants."""
    started: list[Kernel] = []

    def start() -> Kernel:
        started.append(Kernel(notebook_dir))
        started[-1].run("%load_ext htcmagic")
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.fixture
def no_trouble() -> Iterator[None]:
    """Let nothing go wrong unseen in the thread that brings results."""
    from htcmagic.functions.collector import collector

    collector().troubles.clear()
    yield
    assert list(collector().troubles) == []


@pytest.fixture
def make_executor(pool: Any) -> Iterator[Callable[..., Any]]:
    """Make executors of one worker; all of them are ended."""
    import htcmagic

    made = []

    def start(**options: Any) -> htcmagic.Executor:
        made.append(htcmagic.Executor(**{"workers": 1, "idle_s": 30, **options}))
        return made[-1]

    yield start
    for one in made:
        one._execution.end()


LONG = frozenset(
    f"test_{name}"
    for name in (
        *("personal_pool", "programs", "faults", "notebooks", "documentation", "launcher", "passthrough", "containers"),
        *("container_create", "container_kernels", "condor_python", "executor_life", "kernel_create", "map_faults"),
        *("engine_faults", "engine_parsl", "engine_containers", "live_browser", "live_clicks", "stacks"),
    )
)
"""Files that take minutes: they come first, so that at the end no worker has one of them left alone."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have long files run first."""
    items.sort(key=lambda item: item.path.stem not in LONG)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Show the daemons' logs when a test on the pool fails."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if report.failed and "pool" in getattr(item, "fixturenames", ()):
        for file in sorted((places.pool_dir() / "log").glob("*Log")):
            tail = file.read_text(errors="replace").splitlines()[-15:]
            report.sections.append((file.name, "\n".join(tail)))


if shutil.which("unshare") is None and os.getuid() == 0:
    sys.exit("unshare is missing: apt-get install util-linux")
