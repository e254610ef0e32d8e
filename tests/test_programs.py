"""HTCondor's programs: found, unpacked from Debian, named by the user. Everything here is the real thing."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import ordinary
import pytest

from htcmagic.errors import InstallError
from htcmagic.pool import debian, programs

ROOT = Path(__file__).parent.parent
SETTINGS = ("CONDA_PREFIX", "HTCMAGIC_DEBIAN_MIRROR", "HTCMAGIC_PROGRAMS")
NOWHERE = "http://127.0.0.1:9/debian"
INSTALL = """
import sys
from pathlib import Path
from htcmagic.errors import InstallError
from htcmagic.pool import programs
try:
    found = programs.install(with_apptainer="apptainer" in sys.argv, report=lambda text: print(text, flush=True))
except InstallError as error:
    sys.exit(str(error))
print("origin:", found.origin)
print("bin:", found.bin)
print("apptainer:", found.apptainer)
"""
AS_USER = ["setpriv", "--reuid", "1000", "--regid", "1000", "--clear-groups"]
ORDINARY = [*ordinary.uncovered(), *AS_USER] if os.getuid() == 0 else []


def plain_environment(home, **more):
    """Return this environment without any HTCondor or Apptainer, for programs that keep their things in `home`."""
    taken = ("condor_version", "apptainer", "singularity")
    path = [folder for folder in os.get_exec_path() if not any((Path(folder) / name).exists() for name in taken)]
    kept = {key: value for key, value in os.environ.items() if key not in SETTINGS}
    return kept | {"PATH": ":".join(path), "HTCMAGIC_HOME": str(home), "PYTHONPATH": str(ROOT)} | more


def start_install(home, *arguments, prefix=(), **more):
    return subprocess.Popen(
        [*prefix, sys.executable, "-c", INSTALL, *arguments],
        env=plain_environment(home, **more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def ended(process, seconds=200):
    with process:
        out, err = process.communicate(timeout=seconds)
    return process.returncode, out, err


def output(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def left_over(home):
    return [path.name for path in (home / "programs").glob(".new-*")]


@pytest.fixture
def fresh(tmp_path, monkeypatch):
    """Give a home without anything, on a machine without HTCondor."""
    for key, value in plain_environment(tmp_path / "home").items():
        monkeypatch.setenv(key, value)
    for key in SETTINGS:
        monkeypatch.delenv(key, raising=False)
    return tmp_path / "home"


@pytest.fixture(scope="session")
def unpacked(tmp_path_factory):
    """Unpack HTCondor and Apptainer once; give the home and what was reported."""
    home = tmp_path_factory.mktemp("un packed") / "home"
    code, out, err = ended(start_install(home, "apptainer"))
    assert code == 0, err
    return home, out


@pytest.fixture
def installed(unpacked, fresh, monkeypatch):
    monkeypatch.setenv("HTCMAGIC_HOME", str(unpacked[0]))
    return unpacked[0]


@pytest.fixture(scope="session")
def release(unpacked, tmp_path_factory):
    """Lay out a release as HTCondor's tarballs do; its programs hand over to the unpacked ones."""
    folder = tmp_path_factory.mktemp("release") / "condor-x86_64"
    prefix = next((unpacked[0] / "programs").glob("condor-*")) / "usr"
    for name in ("bin/condor_version", "bin/condor_q", "sbin/condor_master", "libexec/condor_shared_port"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        real = prefix / name.replace("libexec", "libexec/condor")
        (folder / name).write_text(f"#!/bin/sh\nexec '{real}' \"$@\"\n")
        (folder / name).chmod(0o755)
    (folder / "lib").mkdir()
    return folder


def test_unpacked_programs_run(installed):
    found = programs.find()
    assert found is not None
    assert re.fullmatch(r"\d+\.\d+\.\d+", found.version)
    assert re.fullmatch(r"unpacked from Debian (testing|sid|trixie)", found.origin)
    assert found.release_dir == installed / "programs" / f"condor-{found.version}" / "usr"
    assert f"$CondorVersion: {found.version} " in output(found.program("condor_version"))
    assert f"$CondorVersion: {found.version} " in output(found.sbin / "condor_master", "-v")
    assert output(found.program("condor_config_val"), "-v", "BIN", env={"CONDOR_CONFIG": "/dev/null"})
    for path in (found.libexec / "condor_shared_port", found.lib / "condor_ssh_to_job_sshd_config_template"):
        assert path.is_file()
    with pytest.raises(InstallError, match="has no condor_nothing"):
        found.program("condor_nothing")


def elf_programs(prefix):
    for pattern in ("bin/*", "sbin/*", "libexec/condor/*", "lib/*/apptainer/bin/*"):
        for path in (prefix / "usr").glob(pattern):
            if path.is_file() and not path.is_symlink() and path.read_bytes()[:4] == b"\x7fELF":
                yield path


def test_every_program_finds_all_its_libraries_in_the_prefix(installed):
    checked = 0
    for prefix in (installed / "programs").glob("*-*"):
        loader = next(prefix.glob("usr/lib/*/ld-linux-*"))
        for path in elf_programs(prefix):
            listed = subprocess.run([loader, "--list", path], capture_output=True, text=True, check=False)
            if "statically linked" in listed.stdout + listed.stderr:
                continue
            libraries = re.findall(r"=> (.+) \(0x", listed.stdout)
            assert libraries, (path, listed.stdout, listed.stderr)
            assert [one for one in libraries if not one.startswith(str(prefix))] == []
            checked += 1
    assert checked > 80


def test_libraries_of_the_user_do_not_get_in_the_way(installed, tmp_path):
    (tmp_path / "libstdc++.so.6").touch()
    found = programs.find()
    environment = os.environ | {"LD_LIBRARY_PATH": str(tmp_path)}
    assert found.version in output(found.program("condor_version"), env=environment)


def test_progress_is_told_in_short_lines(unpacked):
    lines = unpacked[1].splitlines()
    assert any(re.fullmatch(r"Fetching HTCondor [\d.]+: \d+ packages, \d+ MB", line) for line in lines)
    assert any(re.fullmatch(r"HTCondor [\d.]+ is ready in \d+ s", line) for line in lines)
    assert any(re.fullmatch(r"Apptainer [\d.]+ is ready in \d+ s", line) for line in lines)
    assert left_over(unpacked[0]) == []


def test_a_second_install_needs_neither_network_nor_apt(installed, monkeypatch, tmp_path):
    monkeypatch.setenv("HTCMAGIC_DEBIAN_MIRROR", NOWHERE)
    monkeypatch.setenv("PATH", str(tmp_path))
    told = []
    assert programs.install(with_apptainer=True, report=told.append) == programs.find()
    assert told == []


def small_root(folder):
    """Make the root of an image that holds a shell, for `apptainer build`."""
    shell = Path("/bin/sh").resolve()
    listed = output("ldd", shell)
    for path in ["/bin/sh", *re.findall(r"(/\S+) \(0x", listed)]:
        target = folder / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    for name in ("etc", "proc", "sys", "dev", "tmp", "root", "home", "var/tmp"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for name in ("passwd", "group", "hosts", "resolv.conf", "localtime"):
        (folder / "etc" / name).touch()
    return folder


def test_apptainer_builds_and_runs_a_sandbox_image(installed, tmp_path):
    apptainer = programs.find().apptainer
    assert apptainer.is_relative_to(installed)
    image = tmp_path / "image"
    output(apptainer, "build", "--sandbox", image, small_root(tmp_path / "root"), cwd=tmp_path)
    assert output(apptainer, "exec", image, "/bin/sh", "-c", "echo inside", cwd=tmp_path) == "inside\n"


@pytest.fixture
def commons():
    """Give a folder that belongs to the ordinary user, where that user may go."""
    path = Path(tempfile.mkdtemp(dir="/var/tmp"))
    if ORDINARY:
        os.chown(path, 1000, 1000)
        done = subprocess.run([*ORDINARY, sys.executable, "-c", ""], capture_output=True, check=False)
        if done.returncode:
            pytest.skip("the ordinary user may not run this Python")
    yield path
    shutil.rmtree(path)


@pytest.mark.slow
@pytest.mark.skipif(not ORDINARY, reason="the tests run as an ordinary user anyway")
def test_an_ordinary_user_unpacks_all_and_runs_an_image(commons):
    process = start_install(commons / "home", "apptainer", prefix=ORDINARY, HOME=str(commons))
    code, out, err = ended(process)
    assert code == 0, err
    apptainer = re.search(r"apptainer: (.+)", out)[1]
    fuse = Path("/dev/fuse")
    small_root(commons / "root")
    as_user = partial(output, *ORDINARY, apptainer, "-q", cwd=commons, env=plain_environment("", HOME=str(commons)))
    for image, flags in (("image", ["--sandbox"]), ("image.sif", [])):
        if not flags and not (fuse.exists() and fuse.stat().st_mode & 0o002):
            continue
        as_user("build", *flags, image, "root")
        assert as_user("exec", image, "/bin/sh", "-c", "echo inside") == "inside\n"


def wait_for(process, word):
    for line in process.stdout:
        if line.startswith(word):
            return
    pytest.fail(f"never said {word}: {process.stderr.read()}")


@pytest.mark.slow
def test_interrupted_installs_leave_nothing_that_counts(fresh):
    with start_install(fresh) as process:
        wait_for(process, "Fetching")
        os.killpg(process.pid, signal.SIGINT)
        process.wait(60)
    assert process.returncode != 0
    assert left_over(fresh) == []
    assert programs.find() is None

    with start_install(fresh) as process:
        wait_for(process, "Unpacking")
        time.sleep(0.3)
        process.kill()
    assert len(left_over(fresh)) == 1
    assert programs.find() is None

    found = programs.install(report=lambda _: None)
    assert found.version in output(found.program("condor_version"))
    assert left_over(fresh) == []


def test_several_at_once_do_the_work_once_and_replace_what_is_broken(fresh):
    assert programs.find() is None
    broken = fresh / "programs" / "condor-25.14.1"
    (broken / "usr/bin").mkdir(parents=True)
    (broken / "usr/sbin").mkdir()
    for name in ("usr/bin/condor_version", "usr/sbin/condor_master", "junk"):
        (broken / name).touch(mode=0o755)
    (broken / debian.NOTE).write_text(f"unpacked from Debian testing\n{broken}\n")
    assert programs.find() is None
    ends = [ended(process) for process in [start_install(fresh) for _ in range(4)]]
    assert [code for code, _, _ in ends] == [0] * 4, ends
    said = "".join(out for _, out, _ in ends)
    assert said.count("Fetching HTCondor") == 1
    assert said.count("Waiting for another") >= 1
    assert said.count("origin: unpacked from Debian") == 4
    assert not (broken / "junk").exists()
    assert left_over(fresh) == []


def test_a_moved_prefix_does_not_count(installed, fresh, monkeypatch):
    monkeypatch.setenv("HTCMAGIC_HOME", str(fresh))
    name = programs.debian.CONDOR.packages[0]
    moved = next((installed / "programs").glob(f"{name}-*"))
    shutil.copytree(moved, fresh / "programs" / moved.name, symlinks=True)
    assert programs.find() is None


def test_found_on_path_and_in_conda(release, fresh, tmp_path, monkeypatch):
    system = os.environ["PATH"]
    monkeypatch.setenv("PATH", f"{release / 'bin'}:{system}")
    found = programs.find()
    assert (found.origin, found.release_dir) == ("on PATH", release)
    assert (found.libexec, found.lib) == (release / "libexec", release / "lib")
    assert programs.install(report=pytest.fail) == found

    conda = tmp_path / "conda"
    shutil.copytree(release, conda)
    (conda / "conda-meta").mkdir()
    (conda / "libexec").rename(conda / "condor")
    (conda / "libexec").mkdir()
    (conda / "condor").rename(conda / "libexec/condor")
    monkeypatch.setenv("CONDA_PREFIX", str(conda))
    assert programs.find().origin == "on PATH"
    monkeypatch.setenv("PATH", system)
    found = programs.find()
    assert (found.origin, found.libexec) == (f"in the conda environment {conda}", conda / "libexec/condor")
    monkeypatch.setenv("PATH", f"{conda / 'bin'}:{release / 'bin'}:{system}")
    assert programs.find() == found
    assert not fresh.exists()


def test_a_named_folder_wins_and_is_remembered(release, fresh, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", f"{release / 'bin'}:{os.environ['PATH']}")
    mine = shutil.copytree(release, tmp_path / "mine" / "condor")
    found = programs.install(mine.parent, report=lambda _: None)
    assert (found.origin, found.release_dir) == (f"from {mine}", mine)
    assert programs.find() == found
    shutil.rmtree(mine)
    assert programs.find().origin == "on PATH"
    (fresh / "programs/from.json").write_text("{")
    assert programs.find().origin == "on PATH"


def test_a_named_tarball_is_unpacked_and_remembered(release, fresh, tmp_path):
    tarball = tmp_path / "condor-x86_64.tar.gz"
    with tarfile.open(tarball, "w:gz") as archive:
        archive.add(release, release.name)
    for _ in range(2):
        found = programs.install(tarball, report=lambda _: None)
    assert found.release_dir == fresh / "programs" / f"from-{found.version}" / release.name
    assert programs.find() == found
    assert f"$CondorVersion: {found.version} " in output(found.sbin / "condor_master", "-v")
    assert left_over(fresh) == []


def test_what_is_no_release_is_refused(release, fresh, tmp_path):
    text = tmp_path / "text.tar.gz"
    text.write_text("no tarball")
    other = tmp_path / "other.tar.gz"
    with tarfile.open(other, "w:gz") as archive:
        archive.add(text, "text")
    foreign = shutil.copytree(release, tmp_path / "deep/down/foreign")
    (foreign / "bin/condor_version").write_text("#!/nowhere/sh\n")
    clients = shutil.copytree(release, tmp_path / "deep/down/clients")
    (clients / "sbin/condor_master").unlink()
    cases = {
        tmp_path / "absent": "does not exist",
        text: "Unpacking text.tar.gz failed",
        other: "other.tar.gz holds no HTCondor",
        tmp_path: "holds no HTCondor",
        foreign: "foreign failed: .*No such file",
        clients: "lacks condor_master",
    }
    for source, message in cases.items():
        with pytest.raises(InstallError, match=message) as caught:
            programs.install(source, report=lambda _: None)
        assert caught.value.hint
        assert len(str(caught.value).splitlines()) == 2
        shutil.rmtree(fresh)
    assert programs.find() is None


def refused(**settings):
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        with pytest.raises(InstallError) as caught:
            programs.install(report=lambda _: None)
    assert len(str(caught.value).splitlines()) == 2, str(caught.value)
    return caught.value


def test_a_machine_without_apt(fresh, tmp_path):
    error = refused(PATH=str(tmp_path))
    assert "no apt-get" in error.message
    assert "conda" in error.hint
    assert "--from" in error.hint


def test_no_network(fresh):
    started = time.monotonic()
    error = refused(HTCMAGIC_DEBIAN_MIRROR=NOWHERE)
    assert "does not answer" in error.message
    assert "network" in error.hint
    assert time.monotonic() - started < 60
    assert left_over(fresh) == []


def test_a_mirror_that_is_none_or_is_not_signed(fresh, tmp_path):
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    suite = tmp_path / "mirror/dists/testing"
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "mirror"))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            mirror = f"http://127.0.0.1:{server.server_port}"
            assert "does not have a Release file" in refused(HTCMAGIC_DEBIAN_MIRROR=mirror).message
            suite.mkdir(parents=True)
            (suite / "Release").write_text("Origin: Debian\nSuite: testing\nCodename: testing\nComponents: main\n")
            assert "is not signed" in refused(HTCMAGIC_DEBIAN_MIRROR=mirror).message
        finally:
            server.shutdown()
            thread.join()


def test_a_full_disk_is_told_before_anything_is_fetched(fresh, monkeypatch):
    monkeypatch.setattr(debian, "ROOM", 10**18)
    error = refused(HTCMAGIC_DEBIAN_MIRROR=NOWHERE)
    assert "left" in error.message
    assert "space" in error.hint


def test_a_home_that_cannot_be_written(commons):
    code, _, err = ended(start_install("/proc/htcmagic", prefix=ORDINARY))
    assert (code, err.startswith("Cannot write to /proc/htcmagic")) == (1, True), err
    commons.chmod(0o500)
    code, _, err = ended(start_install(commons / "home", prefix=ORDINARY))
    commons.chmod(0o700)
    assert (code, err.startswith(f"Cannot write to {commons}")) == (1, True), err
    assert len(err.splitlines()) == 2
