"""What the inside of an image sees of its outside: variables by both prefixes, folders, credentials; real Apptainer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import images
import kernels
import pytest
from boxes import boxed, inside, shell
from cvmfs import namespace
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from htcmagic.errors import ContainerError
from htcmagic.kernels.outside import check
from htcmagic.kernels.recipe import Container

CHARACTERS = st.characters(exclude_characters="\0", exclude_categories=["Cs"])
NASTY = st.sampled_from(
    [
        "$",
        "`",
        "\\",
        '"',
        "'",
        "\n",
        "~",
        "$HOME",
        "$(id)",
        "`id`",
        "${",
        "$(",
        "\\\\",
        "&",
        ";",
        ",",
        "=",
        " ",
        "\x80",
        "\x81",
    ]
)
TEXTS = st.lists(CHARACTERS | NASTY, max_size=12).map(lambda parts: "".join(parts).replace("\r\n", "\n"))
"""Apptainer itself drops the first of these two: it reads what is given to it as a script."""
VALUES = st.lists(TEXTS, min_size=60, max_size=60)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Give a folder for kernels and a home of the test's own, and no credentials of whoever runs the test."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    for name in list(os.environ):
        if name.startswith(("X509_", "BEARER_", "KRB5", "APPTAINER", "SINGULARITY", "XDG_RUNTIME_DIR", "LC_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@given(values=VALUES)
@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
@pytest.mark.parametrize("prefix", ["both", "SINGULARITYENV_"])
def test_values_go_in_unchanged(tmp_path_factory, prefix, values):
    folder = tmp_path_factory.mktemp("fuzz")
    set_here = {f"SET_{number}": value for number, value in enumerate(values[:30])}
    inherited = {f"GIVEN_{number}": value for number, value in enumerate(values[30:])}
    made = boxed(folder, "bare", settings=tuple(set_here.items()), passed=("GIVEN_*",))
    more = {} if prefix == "both" else {"HTCMAGIC_APPTAINER": str(only_singularity(folder))}
    found, _ = inside(made, {**inherited, **more})
    assert {name: found.get(name) for name in set_here | inherited} == set_here | inherited


def only_singularity(folder: Path) -> Path:
    """Return a runtime that knows the older prefix alone, as SingularityCE does."""
    program = folder / "singularity"
    program.write_text(
        f"""#!/bin/bash
[[ $1 != --version ]] || {{ echo singularity-ce version 4.1.0; exit; }}
unset "${{!APPTAINERENV_@}}"
exec {images.apptainer()} "$@"
"""
    )
    program.chmod(0o755)
    return program


def test_secrets_stay_outside_unless_they_are_named(folder):
    secrets = {
        "JUPYTERHUB_API_TOKEN": "1", "GITHUB_TOKEN": "2", "my_password": "3", "DB_PASSWD": "4", "CLIENT_SECRET_ID": "5",
        "AWS_ACCESS_KEY_ID": "6", "SSH_AUTH_SOCK": "7", "SIGNING_KEY": "8", "BEARER_TOKEN": "9",
    }  # fmt: skip
    harmless = {"TOKENIZERS_PARALLELISM": "no", "KEYBOARD": "de", "MY_ANALYSIS": "1"}
    plain, _ = inside(boxed(folder, "bare"), secrets | harmless)
    assert [name for name in secrets if name in plain] == []
    assert {name: plain[name] for name in harmless} == harmless
    named, _ = inside(boxed(folder, "bare", passed=("GITHUB_TOKEN", "AWS_*", "*")), secrets | harmless)
    assert {name for name in secrets if name in named} == {"GITHUB_TOKEN", "AWS_ACCESS_KEY_ID"}


def test_what_misleads_a_python_stays_outside(folder):
    misleading = {
        "PYTHONHOME": "/nowhere",
        "PYTHONPATH": "/nowhere",
        "VIRTUAL_ENV": "/nowhere",
        "CONDA_PREFIX": "/x",
        "LD_PRELOAD": "",
    }
    found, _ = inside(boxed(folder, "bare"), misleading)
    assert [name for name in misleading if name in found] == []
    assert found["PYTHONNOUSERSITE"] == "1"
    assert "PYTHONNOUSERSITE" not in inside(boxed(folder, "bare", user_site=True))[0]
    assert inside(boxed(folder, "bare", passed=("PYTHONPATH",)), misleading)[0]["PYTHONPATH"] == "/nowhere"


def test_the_image_wins_unless_a_variable_is_passed(folder):
    mine = {"IMAGE_SETS": "mine"}
    assert inside(boxed(folder, "env"), mine)[0]["IMAGE_SETS"] == images.ENVIRONMENT["IMAGE_SETS"]
    assert inside(boxed(folder, "env", passed=("IMAGE_*",)), mine)[0]["IMAGE_SETS"] == "mine"
    assert inside(boxed(folder, "env", settings=(("IMAGE_SETS", "set"),)), mine)[0]["IMAGE_SETS"] == "set"
    assert inside(boxed(folder, "env"))[0]["PYTHONPATH"] == images.ENVIRONMENT["PYTHONPATH"]


def test_path_and_library_path_have_their_own_rules(folder):
    mine = {"PATH": f"/mine:{os.environ['PATH']}", "LD_LIBRARY_PATH": "/mine/lib"}
    found, _ = inside(boxed(folder, "bare"), mine)
    assert "/mine" not in found["PATH"]
    assert "/mine" not in found.get("LD_LIBRARY_PATH", "")
    found, _ = inside(boxed(folder, "bare", prepend_path=("/opt/a b", "$HOME/bin")), mine)
    assert found["PATH"].startswith(f"/opt/a b:{os.environ['HOME']}/bin:")
    found, _ = inside(boxed(folder, "bare", passed=("PATH", "LD_LIBRARY_PATH")), mine)
    assert found["PATH"].startswith("/mine:")
    assert found["LD_LIBRARY_PATH"].split(":")[0] == "/mine/lib"


def test_cleanenv_lets_in_what_is_named_and_a_language(folder):
    env = {"OTHER": "1", "MINE": "a $b", "LANG": "C.UTF-8", "CONDOR_CONFIG": "/etc/passwd"}
    found, _ = inside(boxed(folder, "bare", flags=("cleanenv",), passed=("MINE",)), env)
    assert "OTHER" not in found
    assert (found["MINE"], found["LANG"], found["CONDOR_CONFIG"]) == ("a $b", "C.UTF-8", "/etc/passwd")
    found, _ = inside(boxed(folder, "bare", flags=("cleanenv",), groups=()), env | {"LANG": "de_DE.UTF-8"})
    assert found["LANG"] == "C.UTF-8"
    assert "CONDOR_CONFIG" not in found


def test_names_that_are_none_are_dropped_with_a_note(folder):
    poison = {
        "APPTAINERENV_a-b": "1",
        "SINGULARITYENV_BASH_FUNC_x%%": "() { :; }",
        "APPTAINERENV_BAD": "$(",
        "APPTAINERENV_GOOD": "$HOME",
    }
    functions = {"BASH_FUNC_hello%%": "() { echo hello; }", "a.b": "1"}
    found, said = inside(boxed(folder, "bare", settings=(("KEPT", "yes"),)), poison | functions)
    assert found["KEPT"] == "yes"
    assert found["GOOD"] == found["HOME"]
    assert "BAD" not in found
    assert "APPTAINERENV_a-b is not passed on: not a variable's name" in said
    assert "APPTAINERENV_BAD is not passed on: no shell can read its value" in said
    assert not any("hello" in name for name in found)


def test_jupyter_is_not_this_kernels_parent_inside(folder):
    assert inside(boxed(folder, "bare"), {"JPY_PARENT_PID": "12345"})[0]["JPY_PARENT_PID"] == "1"


@pytest.mark.parametrize("odd", ["a:b", "a,b", "a b", 'a"b', "a$b'c", "ä:,\\ \"'"])
def test_folders_with_any_name(folder, odd):
    place = folder / odd
    (place / "work").mkdir(parents=True)
    (place / "work" / "file").write_text("here")
    (place / "image").symlink_to(images.image("bare"))
    made = boxed(place / "kernels", place / "image", binds=(str(place),), flags=("contain",))
    code = f"import os; print(open('file').read(), os.getcwd(), os.listdir({str(made)!r})); open('new', 'w')"
    done = kernels.ask(made, "--python", "-c", code, cwd=place / "work")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"here {place}/work ")
    assert "setup.sh" in done.stdout
    assert (place / "work" / "new").exists()


def test_a_bind_that_is_missing_is_noted_and_no_more(folder):
    (folder / "data").mkdir()
    (folder / "data" / "file").write_text("seen")
    binds = (f"{folder}/data:/mnt/there:ro", f"{folder}/none:/mnt/none", f"{folder}/data")
    made = boxed(folder, "bare", binds=binds, flags=("contain",))
    assert (
        shell(made, "cat /mnt/there/file; touch /mnt/there/x 2>/dev/null || echo read-only", cwd="/") == "seenread-only"
    )
    assert f"{folder}/none is not there and so not bound" in kernels.ask(made, "--run", "true").stderr
    assert shell(made, f"cat {folder}/data/file", cwd="/") == "seen"


def test_home_policies(folder):
    home = Path(os.environ["HOME"])
    (home / "mine").write_text("x")
    other = folder / "other home"
    other.mkdir()
    assert shell(boxed(folder, "bare"), "cat ~/mine", cwd="/") == "x"
    assert shell(boxed(folder, "bare", home="none"), "ls ~/mine 2>/dev/null || echo none", cwd="/") == "none"
    assert shell(boxed(folder, "bare", home=str(other)), "echo $HOME; touch ~/new", cwd="/") == str(other)
    assert (other / "new").exists()
    other.joinpath("new").unlink()
    other.rmdir()
    gone = kernels.ask(boxed(folder, "bare", home=str(other)), "--run", "true")
    assert gone.returncode == 97
    assert "which is to be the home, is not there" in gone.stderr


def test_a_home_with_an_odd_name(folder, monkeypatch):
    home = folder / 'it\'s "my" home'
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("HTCMAGIC_HOME", f"{home}/htcmagic")
    script = home / "set up.sh"
    script.write_text("export FROM_SETUP=1\n")
    made = boxed(home / ".local/share/jupyter/kernels", "bare", sources=(str(script),))
    assert shell(made, 'echo "$HOME $FROM_SETUP"; echo x >"$HTCMAGIC_HOME/logs/new"', cwd="/") == f"{home} 1"
    assert (home / "htcmagic" / "logs" / "new").exists()


def test_a_value_that_is_too_long_is_left_out_with_a_note(folder):
    env = {"LONG": "$" * 70_000, "FITS": "x" * 120_000}
    found, said = inside(boxed(folder, "bare", passed=("LONG", "FITS")), env)
    assert found["FITS"] == env["FITS"]
    assert "LONG is not passed on: it is too long" in said


def test_credentials_go_in_with_their_group(folder):
    for name in ("proxy", "token", "ticket", "certificates"):
        (folder / "secret" / name).mkdir(parents=True)
        (folder / "secret" / name / "file").write_text(name)
    env = {
        "X509_USER_PROXY": f"{folder}/secret/proxy/file", "BEARER_TOKEN_FILE": f"{folder}/secret/token/file",
        "KRB5CCNAME": f"FILE:{folder}/secret/ticket/file", "X509_CERT_DIR": f"{folder}/secret/certificates",
    }  # fmt: skip
    text = 'cat "$X509_USER_PROXY" "$BEARER_TOKEN_FILE" "${KRB5CCNAME#FILE:}" "$X509_CERT_DIR/file"'
    made = boxed(folder, "bare", flags=("contain", "cleanenv"))
    assert shell(made, text, env={**os.environ, **env}, cwd="/") == "proxytokenticketcertificates"
    without = boxed(folder, "bare", flags=("contain", "cleanenv"), groups=("locale",))
    assert "proxy" not in kernels.ask(without, "--run", "sh", "-c", text, env={**os.environ, **env}, cwd="/").stdout


def test_htcondors_configuration_goes_in(folder):
    configuration = folder / "pool" / "condor_config"
    configuration.parent.mkdir()
    configuration.write_text("A = 1")
    (Path(os.environ["HOME"]) / ".condor").mkdir()
    (Path(os.environ["HOME"]) / ".condor" / "user_config").write_text("B = 2")
    env = {**os.environ, "CONDOR_CONFIG": str(configuration), "_CONDOR_C": "$(A)"}
    made = boxed(folder, "bare", flags=("contain", "cleanenv"))
    assert (
        shell(made, f'cat "$CONDOR_CONFIG" {env["HOME"]}/.condor/user_config; echo "$_CONDOR_C"', env=env, cwd="/")
        == "A = 1B = 2$(A)"
    )


def test_cvmfs_is_seen_where_it_is_mounted(folder):
    tree = folder / "tree"
    (tree / "x.example.org").mkdir(parents=True)
    (tree / "x.example.org" / "file").write_text("on cvmfs")
    made = boxed(folder, "bare", flags=("contain",))
    words = [str(made / "setup.sh"), "--run", "sh", "-c", "cat /cvmfs/x.example.org/file || echo none"]
    done = namespace.inside(tree, words, system="", env=dict(os.environ), cwd=folder)
    assert done.stdout == "on cvmfs", done.stderr
    assert kernels.ask(made, *words[1:]).stdout == "none\n"


def test_an_image_on_cvmfs(folder):
    tree = folder / "tree"
    (tree / "unpacked.example.org").mkdir(parents=True)
    there = "/cvmfs/unpacked.example.org/debian:12"
    subprocess.run(["cp", "-al", images.image("bare"), f"{tree}/unpacked.example.org/debian:12"], check=True)
    made = boxed(folder, there)
    words = [str(made / "setup.sh"), "--python", "-c", "print('runs')"]
    assert namespace.inside(tree, words, system="", env=dict(os.environ), cwd=folder).stdout == "runs\n"
    gone = kernels.ask(made, *words[1:])
    assert gone.returncode == 97
    assert f"the image {there} is not there: is its repository mounted?" in gone.stderr


def test_temporary_files_have_a_place(folder):
    (folder / "scratch").mkdir()
    env = {"TMPDIR": f"{folder}/scratch"}
    code = "import tempfile; print(tempfile.gettempdir())"
    ask = {"env": {**os.environ, **env}, "cwd": "/"}
    assert kernels.ask(boxed(folder, "bare"), "--python", "-c", code, **ask).stdout == f"{folder}/scratch\n"
    assert kernels.ask(boxed(folder, "bare", flags=("contain",)), "--python", "-c", code, **ask).stdout == "/tmp\n"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"groups": ("grids",)}, "no group of variables 'grids'"),
        ({"flags": ("gpu",)}, "no container flag 'gpu'"),
        ({"passed": ("A)B",)}, "names no variable"),
        ({"home": "/a:b"}, "has a colon"),
    ],
)
def test_wrong_policies_are_refused(wrong, said):
    with pytest.raises(ContainerError, match=said):
        check(Container("/image", **wrong))


def test_a_kernel_started_from_another_ones_inside_has_its_own(folder):
    found, _ = inside(
        boxed(folder, "env", name="other"), {"HTCMAGIC_INSIDE": "/somewhere/else", "HTCMAGIC_KERNEL": "first"}
    )
    assert found["HTCMAGIC_KERNEL"] == "other"
    assert "IMAGE_SETS" in found


def test_the_scripts_words_reach_the_command_unchanged(folder):
    words = ["", "a b", "*", "$HOME", "'", '"', "\\", "-f", "x.json"]
    done = kernels.ask(boxed(folder, "bare"), "--python", "-c", "import sys; print(sys.argv[1:])", *words)
    assert done.stdout == f"{words}\n"
    assert sys.executable not in done.stdout
