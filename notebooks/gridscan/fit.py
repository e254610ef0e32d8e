"""Is a heavy Z' boson excluded at one point (x, y)?  One limit fit, one ROOT file.

The toy search looks for Z' -> ee in the dielectron mass spectrum of 139 /fb.  The Z' couples to the Standard
Model like the sequential one (SSM), scaled by x, and may decay into a dark sector too, which makes it wider:

    x = g/g_SSM    the coupling: the production rate and the width to known particles grow as x^2
    y = Gamma/M    the total width in per cent: the peak gets broader, and BR(ee) falls as 1/y

so the yield goes as x^4/y, and y can not be less than 3 % x^2, the width to known particles alone.
The control region (0.8-1.4 TeV) fixes the Drell-Yan background, the signal region (1.4-2.6 TeV) has the peak.
The hypothesis mu = 1 is tested with CLs (asymptotic formulae, q-tilde) in pyhf.  The numbers have the size of
those of the LHC but are invented, and the data are one pseudo-experiment without a signal.
"""

import argparse
import math
import os
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pyhf
import uproot
from scipy.special import voigt_profile

LUMI = 139.0  # /fb
EFFICIENCY = 0.7
SSM_WIDTH = 0.03  # Gamma/M of the sequential Z'
RESOLUTION = 0.012  # of the electron pair's mass
MASSES = (1600.0, 2400.0)  # GeV: where the signal region holds the peak

EDGES = {"CR": np.linspace(0.8, 1.4, 7), "SR": np.linspace(1.4, 2.6, 13)}  # TeV
# Drawn once from the backgrounds.
DATA = {"CR": [370, 184, 118, 64, 44, 22], "SR": [14, 7, 10, 7, 2, 5, 2, 3, 1, 0, 3, 0]}
# The expected CLs when there is no signal, -2 to +2 sigma.
BAND = ("CLs_exp_m2", "CLs_exp_m1", "CLs_exp", "CLs_exp_p1", "CLs_exp_p2")


def cross_section(mass: float, x: float, y: float) -> float:
    """Give sigma(pp -> Z') x BR(Z' -> ee) in fb; mass in GeV, y in per cent."""
    ssm = 8.0 * math.exp(-(mass - 2000.0) / 330.0)
    return ssm * x**4 * SSM_WIDTH / (y / 100.0)


def peak(edges: np.ndarray, mass: float, y: float) -> np.ndarray:
    """Give the share of the signal in each bin: a Breit-Wigner smeared by the resolution."""
    steps = 50
    fine = np.linspace(edges[0], edges[-1], steps * (len(edges) - 1), endpoint=False)
    width = (edges[-1] - edges[0]) / len(fine)
    m = mass / 1000.0
    density = voigt_profile(fine + width / 2 - m, RESOLUTION * m, y / 100.0 * m / 2)
    return np.asarray(density.reshape(-1, steps).sum(axis=1) * width)


def falling(edges: np.ndarray, norm: float, power: float) -> np.ndarray:
    """Give the yields of a background that falls as norm m^-power (m in TeV)."""
    return np.asarray(-norm * np.diff(edges ** (1 - power)) / (power - 1))


def normsys(name: str, size: float) -> dict[str, Any]:
    """Describe an uncertainty of the yield, relative."""
    return {"name": name, "type": "normsys", "data": {"hi": 1 + size, "lo": 1 - size}}


def histosys(name: str, low: np.ndarray, high: np.ndarray) -> dict[str, Any]:
    """Describe an uncertainty of the shape by the spectra one sigma down and up."""
    return {"name": name, "type": "histosys", "data": {"lo_data": list(low), "hi_data": list(high)}}


def channel(name: str, mass: float, x: float, y: float) -> dict[str, Any]:
    """Describe one region: the signal, Drell-Yan, and top quarks with dibosons."""
    edges = EDGES[name]
    events = LUMI * EFFICIENCY * cross_section(mass, x, y)
    down, signal, up = (events * peak(edges, scale * mass, y) for scale in (0.99, 1.0, 1.01))
    drell_yan = falling(edges, 1250.0, 5.6)
    top = falling(edges, 150.0, 7.5)
    tilt = 0.06 * (edges[:-1] + edges[1:] - 1.6)  # the parton densities: nothing at 0.8 TeV, 22 % at 2.6 TeV

    def statistics(yields: np.ndarray) -> dict[str, Any]:
        """Ten times the luminosity was simulated."""
        return {"name": f"mc_{name}", "type": "staterror", "data": list(np.sqrt(yields / 10.0))}

    return {
        "name": name,
        "samples": [
            {
                "name": "signal",
                "data": list(signal),
                "modifiers": [
                    {"name": "mu", "type": "normfactor", "data": None},
                    normsys("lumi", 0.017),
                    normsys("electron_id", 0.05),
                    histosys("electron_scale", down, up),
                ],
            },
            {
                "name": "drell_yan",
                "data": list(drell_yan),
                "modifiers": [
                    {"name": "mu_dy", "type": "normfactor", "data": None},
                    histosys("pdf", drell_yan * (1 - tilt), drell_yan * (1 + tilt)),
                    statistics(drell_yan),
                ],
            },
            {
                "name": "top",
                "data": list(top),
                "modifiers": [normsys("lumi", 0.017), normsys("top_rate", 0.15), statistics(top)],
            },
        ],
    }


def fit(mass: float, x: float, y: float) -> dict[str, float]:
    """Test mu = 1 at one point; give the branches of the ROOT file."""
    start = time.monotonic()
    spec = {"channels": [channel(name, mass, x, y) for name in EDGES]}
    model = pyhf.Model(spec, poi_name="mu")
    data = [*(count for name in model.config.channels for count in DATA[name]), *model.config.auxdata]
    calculator = pyhf.infer.calculators.AsymptoticCalculator(data, model, test_stat="qtilde")
    statistic = calculator.teststatistic(1.0)
    tails = calculator.distributions(1.0)
    clsb, clb, cls = calculator.pvalues(statistic, *tails)
    _, clb_band, cls_band = calculator.expected_pvalues(*tails)
    mu_hat = calculator.fitted_pars.free_fit_to_data[model.config.poi_index]
    if not calculator.sqrtqmuA_v:
        raise ArithmeticError("the signal is too small to be tested")
    values = {
        "mass": mass,
        "x": x,
        "y": y,
        "xsec_fb": cross_section(mass, x, y),
        "mu_hat": mu_hat,  # at least 0, as q-tilde has it
        "mu_err": 1.0 / float(calculator.sqrtqmuA_v),  # from the Asimov data set
        "CLs_obs": cls,
        "CLb_obs": clb,
        "CLsb_obs": clsb,
        "CLb_exp": clb_band[2],
        **dict(zip(BAND, cls_band, strict=True)),
    }
    values = {name: float(value) for name, value in values.items()}
    if not all(map(math.isfinite, values.values())):
        raise ArithmeticError(f"the fit did not converge: {values}")
    return {**values, "fit_seconds": time.monotonic() - start}


def write(path: Path, values: dict[str, float]) -> None:
    """Write a tree of one entry; the file has its name only when it is whole."""
    part = path.with_name(f"{path.name}.part{os.getpid()}")
    try:
        with uproot.recreate(part) as file:
            tree = file.mktree("limit", dict.fromkeys(values, "float64"))
            tree.extend({name: np.array([value]) for name, value in values.items()})
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


class Parser(argparse.ArgumentParser):
    """Say what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        """Leave with status 2."""
        self.exit(2, f"{self.prog}: {message}\n")


def main() -> int:
    """Read the command line, fit, write."""
    parser = Parser(description="Test one point (X, Y) of the Z' grid.")
    parser.add_argument("x", metavar="X", type=float, help="g/g_SSM")
    parser.add_argument("y", metavar="Y", type=float, help="Gamma/M in per cent")
    parser.add_argument("--mass", metavar="M", type=float, required=True, help="in GeV")
    parser.add_argument("-o", "--output", metavar="FILE", type=Path, required=True, help="the ROOT file")
    args = parser.parse_args()
    if not MASSES[0] <= args.mass <= MASSES[1]:
        parser.error(f"--mass is {args.mass:g} GeV, the search looks from {MASSES[0]:g} to {MASSES[1]:g} GeV")
    if not 0.1 <= args.x <= 1.0:
        parser.error(f"X = g/g_SSM is {args.x:g}, not between 0.1 and 1")
    narrowest = 100 * SSM_WIDTH * args.x**2
    if not narrowest <= args.y <= 20.0:
        parser.error(f"Y = Gamma/M is {args.y:g} %, not between {narrowest:.2g} % (3 % X^2) and 20 %")
    if not args.output.parent.is_dir():
        parser.error(f"there is no folder {args.output.parent} for {args.output.name}")
    try:
        values = fit(args.mass, args.x, args.y)
        write(args.output, values)
    except (ArithmeticError, OSError, pyhf.exceptions.FailedMinimization) as error:
        parser.exit(1, f"{parser.prog}: x={args.x:g}, y={args.y:g}: {error}\n")
    verdict = "excluded" if values["CLs_obs"] < 0.05 else "not excluded"
    print(f"M={args.mass:g} GeV x={args.x:g} y={args.y:g} %: CLs={values['CLs_obs']:.3g}, {verdict}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
