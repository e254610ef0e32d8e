"""The fits of the demonstration notebook, run as its jobs run them."""

import math
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

uproot = pytest.importorskip("uproot")
pytest.importorskip("pyhf")

FOLDER = Path(__file__).parent.parent / "notebooks" / "gridscan"
BRANCHES = [
    "mass",
    "x",
    "y",
    "xsec_fb",
    "mu_hat",
    "mu_err",
    "CLs_obs",
    "CLb_obs",
    "CLsb_obs",
    "CLb_exp",
    "CLs_exp_m2",
    "CLs_exp_m1",
    "CLs_exp",
    "CLs_exp_p1",
    "CLs_exp_p2",
    "fit_seconds",
]
POINTS = {"strong": ("0.35", "1.5"), "middle": ("0.3", "3"), "again": ("0.3", "3"), "weak": ("0.12", "6")}


def run_fit(folder, *arguments):
    """Run fit.sh in a folder, as a job does."""
    return subprocess.run(
        [FOLDER / "fit.sh", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHON": sys.executable, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.fixture(scope="module")
def fits(tmp_path_factory):
    """Give name -> (run, branches) of a few points."""
    folder = tmp_path_factory.mktemp("a folder")

    def point(name):
        run = run_fit(folder, *POINTS[name], "--mass", "2000", "-o", f"{name}.root")
        assert run.returncode == 0, run.stderr
        with uproot.open(folder / f"{name}.root") as file:
            assert file.keys(cycle=False) == ["limit"]
            assert file["limit"].num_entries == 1
            return run, {key: float(value[0]) for key, value in file["limit"].arrays(library="np").items()}

    with ThreadPoolExecutor(2) as threads:
        runs = dict(zip(POINTS, threads.map(point, POINTS), strict=True))
    assert sorted(path.name for path in folder.iterdir()) == sorted(f"{name}.root" for name in POINTS)
    return runs


@pytest.mark.parametrize("name", POINTS)
def test_numbers_make_sense(fits, name):
    run, values = fits[name]
    assert list(values) == BRANCHES
    assert all(map(math.isfinite, values.values()))
    assert (values["mass"], values["x"], values["y"]) == (2000.0, *map(float, POINTS[name]))
    assert values["mu_hat"] >= 0 < values["mu_err"]
    assert all(0 <= value <= 1 for key, value in values.items() if key.startswith("CL"))
    band = [values[key] for key in BRANCHES if key.startswith("CLs_exp")]
    assert band == sorted(band)
    assert len(set(band)) == 5
    assert values["CLs_obs"] == pytest.approx(values["CLsb_obs"] / values["CLb_obs"])
    assert values["CLb_exp"] == pytest.approx(0.5)
    assert run.stdout.count("\n") == 1
    assert not run.stderr


def test_a_strong_signal_is_excluded_and_a_weak_one_is_not(fits):
    assert fits["strong"][1]["CLs_obs"] < 1e-3
    assert fits["strong"][1]["CLs_exp"] < 1e-3
    assert ", excluded" in fits["strong"][0].stdout
    assert fits["weak"][1]["CLs_obs"] > 0.8
    assert "not excluded" in fits["weak"][0].stdout


def test_the_same_point_gives_the_same_numbers(fits):
    first, second = ({**fits[name][1], "fit_seconds": 0} for name in ("middle", "again"))
    assert first == second


def test_bad_input_is_told_in_one_line(tmp_path):
    words = {
        "2.4 %": ["0.9", "2", "--mass", "2000", "-o", "a.root"],
        "wide": ["0.3", "wide", "--mass", "2000", "-o", "a.root"],
        "--mass": ["0.3", "3", "--mass", "nan", "-o", "a.root"],
        "nowhere": ["0.3", "3", "--mass", "2000", "-o", "nowhere/a.root"],
    }
    with ThreadPoolExecutor(2) as threads:
        runs = list(threads.map(lambda arguments: run_fit(tmp_path, *arguments), words.values()))
    for word, run in zip(words, runs, strict=True):
        assert run.returncode == 2
        assert run.stderr.startswith("fit.py: ")
        assert run.stderr.count("\n") == 1
        assert word in run.stderr
        assert not run.stdout
    assert not list(tmp_path.iterdir())
