"""htc-kernel export and import: the same kernel elsewhere, no secrets, and nothing out of its place."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kernelhome
import pytest
from foreign import Kernels, own_kernels, run
from hypothesis import given, settings
from hypothesis import strategies as st

from htcmagic.errors import KernelError
from htcmagic.kernels import bundle, create, kernelspec
from htcmagic.kernels.recipe import Container, Recipe


@pytest.fixture
def kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernels]:
    with own_kernels(tmp_path, monkeypatch) as made:
        yield made


def environment(folder: Path, *names: str) -> list[str | None]:
    code = "import json, os, sys; print(json.dumps([os.environ.get(name) for name in sys.argv[1:]]))"
    words = [str(folder / "setup.sh"), "--python", "-c", code, *names]
    return list(json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout))


@pytest.fixture
def made(kernels: Kernels, tmp_path: Path) -> kernelspec.Kernel:
    """Make a kernel with two scripts of one name, a hook, and a secret."""
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "set up.sh").write_text(f"export {folder.upper()}=yes\n")
    (tmp_path / "hook.sh").write_text("export HOOKED=yes\n")
    sources = [str(tmp_path / folder / "set up.sh") for folder in ("one", "two")]
    return create.create(
        kernels=kernels.folder, name="mine", display_name="My own", python=sys.executable,
        source=sources, hook=[str(tmp_path / "hook.sh")],
        set=["PLAIN=it's $HOME", "MY_TOKEN=hush", "DB_PASSWORD=hush"],
    )  # fmt: skip


def test_there_and_back(made: kernelspec.Kernel, kernels: Kernels, tmp_path: Path):
    file = tmp_path / "b.tar.gz"
    done = run("export", "mine", "-o", str(file))
    assert done.returncode == 0, done.stderr
    assert "MY_TOKEN looks like a secret and is left out" in done.stdout
    assert b"hush" not in gzip.decompress(file.read_bytes())
    for name in ("one", "two", "hook.sh"):
        (tmp_path / name).rename(tmp_path / f"gone {name}")
    taken = run("import", str(file), "--name", "theirs")
    assert taken.returncode == 0, taken.stderr
    theirs = kernelspec.find("theirs")
    assert theirs.folder.parent == tmp_path / "data" / "kernels"
    assert theirs.title == "My own"
    assert theirs.edited() == {}
    names = ["ONE", "TWO", "HOOKED", "PLAIN", "MY_TOKEN"]
    assert environment(theirs.folder, *names) == ["yes", "yes", "yes", "it's $HOME", None]
    assert bundle.pack(theirs).files == bundle.read(file).files


def test_the_same_kernel_gives_the_same_bytes(made: kernelspec.Kernel):
    assert bundle.write(bundle.pack(made)) == bundle.write(bundle.pack(kernelspec.find("mine")))


def test_a_pipe_and_a_dry_run(made: kernelspec.Kernel, kernels: Kernels, tmp_path: Path):
    packed = subprocess.run(
        [sys.executable, "-m", "htcmagic.cli.kernel", "export", "mine", "-o", "-"], capture_output=True, check=True
    )
    taken = subprocess.run(
        [sys.executable, "-m", "htcmagic.cli.kernel", "import", "-", "--name", "piped", "--dry-run"],
        input=packed.stdout, capture_output=True, check=True,
    )  # fmt: skip
    assert b"export HOOKED=yes" in taken.stdout
    assert b'"display_name": "My own"' in taken.stdout
    assert kernelspec.look_up("piped") is None


def test_an_adopted_kernel_takes_its_set_up_along(kernels: Kernels, tmp_path: Path):
    kernels.wrapped("old", '#!/bin/bash\nexport A=1\nexec PYTHON -m ipykernel_launcher "$@"\n')
    assert run("adopt", "old").returncode == 0
    file = tmp_path / "b.tar.gz"
    assert run("export", "old", "-o", str(file)).returncode == 0
    assert run("import", str(file), "--name", "new").returncode == 0
    assert environment(kernelspec.find("new").folder, "A") == ["1"]


def test_neither_files_nor_kernels_are_overwritten(made: kernelspec.Kernel, kernels: Kernels, tmp_path: Path):
    file = tmp_path / "b.tar.gz"
    assert run("export", "mine", "-o", str(file)).returncode == 0
    before = file.read_bytes()
    done = run("export", "mine", "-o", str(file))
    assert done.returncode == 1
    assert "is there already" in done.stderr
    assert run("export", "mine", "-o", str(file), "--force").returncode == 0
    assert file.read_bytes() == before
    other = run("import", str(file))
    assert other.returncode == 1
    assert "There is a kernel mine already" in other.stderr
    nowhere = run("export", "mine", "-o", "/no/such/folder/x.tar.gz")
    assert nowhere.returncode == 1
    assert "Traceback" not in nowhere.stderr


def test_a_foreign_kernel_is_not_exported(kernels: Kernels):
    kernels.add("foreign")
    done = run("export", "foreign")
    assert done.returncode == 1
    assert "htc-kernel adopt foreign" in done.stderr


def test_what_a_machine_decides_stays_at_home(kernels: Kernels):
    box = Container("docker://python:3.12", path="/home/me/pulled", runtime="/opt/apptainer", flags=("nv",))
    recipe = Recipe("box", "Box", injected="/home/me/ipk", creator="/home/me/python", container=box)
    kernel = kernelspec.Kernel("box", kernels.folder, {"metadata": {"htcmagic": {"recipe": recipe.as_json()}}})
    packed = bundle.pack(kernel)
    assert b"/home/me" not in gzip.decompress(bundle.write(packed))
    assert packed.inject
    assert packed.recipe.container == Container("docker://python:3.12", flags=("nv",))


def test_a_script_that_is_gone_is_told(made: kernelspec.Kernel, tmp_path: Path):
    (tmp_path / "hook.sh").unlink()
    with pytest.raises(KernelError, match=r"hook\.sh cannot be taken along"):
        bundle.pack(made)


# -- bundles that somebody else has made up

PLAIN = {"name": "mine", "title": "T", "python": "/usr/bin/python3"}
GOOD: dict[str, Any] = {"format": 1, "inject": False, "recipe": PLAIN}


def tar(entries: list[tuple[str, bytes]], kind: bytes = tarfile.REGTYPE, link: str = "") -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz") as archive:
        for name, content in entries:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = (kind, link) if name.startswith("mine/files") else (tarfile.REGTYPE, "")
            entry.size = len(content) if entry.isreg() else 0
            archive.addfile(entry, io.BytesIO(content))
    return raw.getvalue()


def with_recipe(**more: object) -> list[tuple[str, bytes]]:
    told = {**GOOD, "recipe": {**GOOD["recipe"], **more}}
    return [("mine/recipe.json", json.dumps(told).encode())]


SCRIPT = {"sources": ["$htc_folder/a.sh"]}
HOSTILE = {
    "an entry above": tar([*with_recipe(), ("../evil", b"x")]),
    "an absolute entry": tar([*with_recipe(), ("/etc/evil", b"x")]),
    "dots in the middle": tar([*with_recipe(), ("mine/files/../../evil", b"x")]),
    "a hidden file": tar([*with_recipe(**SCRIPT), ("mine/files/.bashrc", b"x")]),
    "a link": tar([*with_recipe(**SCRIPT), ("mine/files/a.sh", b"")], tarfile.SYMTYPE, "/etc/passwd"),
    "a hard link": tar([*with_recipe(**SCRIPT), ("mine/files/a.sh", b"")], tarfile.LNKTYPE, "mine/recipe.json"),
    "a device": tar([*with_recipe(**SCRIPT), ("mine/files/a.sh", b"")], tarfile.CHRTYPE),
    "a file twice": tar([*with_recipe(**SCRIPT), ("mine/files/a.sh", b"1"), ("mine/files/a.sh", b"2")]),
    "a file of no use": tar([*with_recipe(), ("mine/files/a.sh", b"1")]),
    "a missing script": tar(with_recipe(**SCRIPT)),
    "setup.sh itself": tar([*with_recipe(sources=["$htc_folder/setup.sh"]), ("mine/files/setup.sh", b"1")]),
    "two kernels": tar([*with_recipe(), ("other/recipe.json", b"{}")]),
    "nothing": tar([]),
    "no recipe": tar([("mine/files/a.sh", b"1")]),
    "a bad name": tar(with_recipe(name="../up")),
    "a number for a title": tar(with_recipe(title=3)),
    "code for a number": tar(with_recipe(timeout_s="$(id)")),
    "a text for a list": tar(with_recipe(sources="/a.sh")),
    "a list in a list": tar(with_recipe(sources=[["/a.sh"]])),
    "an unknown field": tar(with_recipe(surprise="x")),
    "settings of one": tar(with_recipe(settings=[["A"]])),
    "a bad variable": tar(with_recipe(settings=[["A-B", "1"]])),
    "a NUL": tar(with_recipe(python="/usr/bin/python\0")),
    "a container of nothing": tar(with_recipe(container={})),
    "another format": tar([("mine/recipe.json", json.dumps({**GOOD, "format": 2}).encode())]),
    "no JSON": tar([("mine/recipe.json", b"{")]),
    "a list": tar([("mine/recipe.json", b"[]")]),
    "too much": tar([*with_recipe(**SCRIPT), ("mine/files/a.sh", bytes(11_000_000))]),
    "too many": tar([*with_recipe(), *((f"mine/files/{number}", b"") for number in range(200))]),
    "cut short": tar(with_recipe())[:-60],
    "no gzip": b"hello",
    "empty": b"",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_what_is_no_bundle_is_refused_in_two_lines(kernels: Kernels, tmp_path: Path, what: str):
    file = tmp_path / "b.tar.gz"
    file.write_bytes(HOSTILE[what])
    with pytest.raises(KernelError) as caught:
        bundle.order(bundle.read(file), report=lambda _line: None, dry_run=True)
    assert caught.value.message
    assert not (tmp_path / "data").exists()
    assert not Path("/etc/evil").exists()


def test_a_file_that_is_not_there(kernels: Kernels):
    done = run("import", "/no/such/file")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "/no/such/file cannot be read" in done.stderr


_text = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=30)


@settings(max_examples=60, deadline=None)
@given(
    values=st.dictionaries(st.from_regex(r"[A-Z][A-Z0-9_]{0,8}", fullmatch=True), _text, max_size=5),
    content=st.binary(max_size=300),
)
def test_any_value_and_any_script_arrive_as_they_were(tmp_path_factory: Any, values: dict[str, str], content: bytes):
    kept = {name: value for name, value in values.items() if not bundle._is_secret(name)}
    recipe = Recipe("any", "T", python="/usr/bin/python3", sources=("$htc_folder/a.sh",), settings=tuple(kept.items()))
    file = tmp_path_factory.mktemp("b") / "b.tar.gz"
    file.write_bytes(bundle.write(bundle.Bundle(recipe, {"a.sh": content})))
    read = bundle.read(file)
    assert read.recipe == recipe
    assert read.files == {"a.sh": content}
    assert file.stat().st_size < 10_000


def test_a_kernel_that_was_imported_keeps_snapshots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernels = kernelhome.isolate(tmp_path, monkeypatch)
    script = tmp_path / "slow.sh"
    script.write_text(f"export SLOW=1\nPATH={sys.prefix}/bin:$PATH\n")
    for words in (
        ("create", "--source", str(script), "--name", "slow", "--snapshot"),
        ("export", "slow", "-o", str(tmp_path / "slow.tar.gz")),
        ("import", str(tmp_path / "slow.tar.gz"), "--name", "again"),
    ):
        done = kernelhome.htc_kernel(*words)
        assert done.returncode == 0, done.stderr
    refreshed = subprocess.run([kernels / "again/setup.sh", "--refresh"], capture_output=True, text=True, check=False)
    assert refreshed.returncode == 0, refreshed.stderr
    assert Path(refreshed.stdout.strip()).parent == tmp_path / "htcmagic/snapshots"
