"""The one file that a job of ours brings along: runner, cloudpickle, htchirp."""

from __future__ import annotations

import hashlib
import importlib.util
import py_compile
import sys
import tempfile
import zipfile
from functools import cache
from pathlib import Path

from htcmagic import places

MODULES = (
    "job",
    *(
        f"remote/{name}"
        for name in (
            "__init__",
            "main",
            "records",
            "failure",
            "cell",
            "core",
            "static",
            "node",
            "parents",
            "pull",
            "crew",
            "child",
            "channel",
        )
    ),
)
MAIN = """\
import sys
if tuple(sys.version_info[:2]) != {version}:
    told = "htcmagic: PythonMismatch: the worker has Python %d.%d (%s), the notebook %d.%d\\n"
    sys.stderr.write(told % (sys.version_info[0], sys.version_info[1], sys.executable, {major}, {minor}))
    sys.exit(97)
from htcmagic.functions.remote.main import main
sys.exit(main(sys.argv[1:]))
"""
"""Understood by every Python: 97 is what a kernel's ``setup.sh`` ends with when its set-up has failed."""
PACKAGE = '''\
"""What there is of htcmagic in a job."""
from htcmagic.functions.job import File, output_dir, progress


def task(call=None, /, **options):
    """Return the function: in a job, a task runs right there."""
    return call if call is not None else lambda call: call


def __getattr__(name):
    raise AttributeError(
        "htcmagic." + name + " is not there in a job: only htcmagic.progress, output_dir, File and task are"
    )
'''


@cache
def bundle() -> Path:
    """Return the file, made when it is not there yet; its name holds a digest of its content."""
    sources = _sources()
    digest = hashlib.sha256(repr((sys.version_info[:3], sorted(sources.items()))).encode()).hexdigest()[:16]
    folder = places.private(places.home() / "bundles")
    path = folder / f"htcmagic-{digest}.pyz"
    if not path.exists():
        _write(path, sources)
    return path


def _sources() -> dict[str, str]:
    here, (major, minor) = Path(__file__).parent, sys.version_info[:2]
    found = {
        "__main__.py": MAIN.format(version=(major, minor), major=major, minor=minor),
        "htcmagic/__init__.py": PACKAGE,
        "htcmagic/functions/__init__.py": "",
    }
    for name in MODULES:
        file = here / f"{name}.py"
        if file.exists():
            found[f"htcmagic/functions/{name}.py"] = file.read_text(encoding="utf-8")
    for file in sorted(_folder("cloudpickle").glob("*.py")):
        found[f"cloudpickle/{file.name}"] = file.read_text(encoding="utf-8")
    chirp = _folder("htcondor2") / "htchirp" / "htchirp.py"
    found["htchirp.py"] = chirp.read_text(encoding="utf-8")
    return found


def _folder(package: str) -> Path:
    """Return where a package lies, without importing it."""
    spec = importlib.util.find_spec(package)
    assert spec is not None  # noqa: S101 - a dependency
    assert spec.submodule_search_locations is not None  # noqa: S101
    return Path(spec.submodule_search_locations[0])


def _write(path: Path, sources: dict[str, str]) -> None:
    """Write sources and, for this version of Python, what it compiles them to: that starts in half the time."""
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        new, source, compiled = (Path(scratch) / name for name in ("new", "source.py", "compiled.pyc"))
        with zipfile.ZipFile(new, "w") as archive:
            for name, text in sources.items():
                archive.writestr(name, text)
                if name != "__main__.py":
                    source.write_text(text, encoding="utf-8")
                    py_compile.compile(
                        str(source),
                        cfile=str(compiled),
                        dfile=name,
                        doraise=True,
                        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
                    )
                    archive.write(compiled, f"{name}c")
        new.replace(path)
