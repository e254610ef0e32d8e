"""A small /cvmfs: look-alikes of each experiment's scripts at their true paths, and real pythons with a real ipykernel.

``repositories/`` is copied as it is; ``templates/`` are what releases have many of. A stack's python is a link to the
one that runs the tests, made to believe (by ``pyvenv.cfg``, or by PYTHONHOME where the true stack sets that) that it
is at home in the tree; its ``site-packages`` are links to the tests' ipykernel and what that needs. Packages that only
the stack has (ROOT, basf2 …) are one line each, so that importing them proves which python it is. ``traps.toml`` says
what is wrong with each script: what a stack's recipe must get around.
"""

from __future__ import annotations

import atexit
import functools
import re
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path

HERE = Path(__file__).parent
PY = f"{sys.version_info.major}.{sys.version_info.minor}"
REAL = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
LIBRARY = Path(sysconfig.get_path("stdlib"))
PACKAGES = Path(sysconfig.get_path("purelib"))
LCG_RELEASES = ("LCG_105", "LCG_107")
LCG_PLATFORMS = ("x86_64-el9-gcc13-opt", "x86_64-el9-gcc13-dbg", "x86_64-ubuntu2204-gcc11-opt")
ATLAS_RELEASES = ("AnalysisBase/25.2.14", "AnalysisBase/25.2.15", "StatAnalysis/0.3.1", "Athena/25.0.40")
KEY4HEP_RELEASES = ("2024-10-03", "2025-05-29")
WITHOUT_IPYKERNEL = "AnalysisBase/25.2.14"
"""The one release whose python has no ipykernel."""


def build(target: Path) -> Path:
    """Make the tree in the folder `target`, which need not exist; return it."""
    shutil.copytree(HERE / "repositories", target, dirs_exist_ok=True)
    for make in (
        _atlas,
        _lcg,
        _belle2,
        _cms,
        _lhcb,
        _alice,
        _key4hep,
        _icecube,
        _dune,
        _condas,
        _lmods,
        _eessi,
        _sphenix,
    ):
        make(target)
    for file in target.rglob("*"):
        if file.is_file() and not file.is_symlink() and file.read_bytes()[:2] == b"#!":
            file.chmod(0o755)
    return target


def python(prefix: Path, packages: Iterable[str] = (), *, ipykernel: bool = True, home: bool = False) -> Path:
    """Make a python at home in the folder `prefix`.

    Parameters
    ----------
    prefix : Path
        Where ``bin/python3`` is made.
    packages : iterable of str
        Names of packages that it has beside the tests' own.
    ipykernel : bool
        Whether it has ipykernel.
    home : bool
        Whether it works by PYTHONHOME, not by ``pyvenv.cfg``.

    Returns
    -------
    Path
        The folder for its packages.
    """
    (prefix / "bin").mkdir(parents=True, exist_ok=True)
    for name in ("python3", "python", f"python{PY}"):
        (prefix / "bin" / name).symlink_to(REAL)
    library = prefix / "lib" / f"python{PY}"
    site = prefix / "lib" if home else library / "site-packages"
    site.mkdir(parents=True)
    if home:
        library.symlink_to(_shared() / "library")
        (prefix / "lib" / "python3").symlink_to(_shared() / "library")
    else:
        (prefix / "pyvenv.cfg").write_text(f"home = {REAL.parent}\ninclude-system-site-packages = false\n")
        if ipykernel:
            (site / "ipykernel.pth").write_text(f"{_shared() / 'ipykernel'}\n")
    fakes(site, packages)
    return site


def add_ipykernel(folder: Path) -> None:
    """Give a folder of PYTHONPATH an ipykernel."""
    (folder / "sitecustomize.py").write_text(f"import sys\nsys.path.append({str(_shared() / 'ipykernel')!r})\n")


@functools.cache
def _shared() -> Path:
    """Make links that all pythons of this process share: the tests' ipykernel with what it needs; a library."""
    folder = Path(tempfile.mkdtemp(prefix="shared-"))
    atexit.register(shutil.rmtree, folder)
    folder.chmod(0o755)
    (folder / "ipykernel").mkdir()
    for name in _ipykernel_files():
        (folder / "ipykernel" / name).symlink_to(PACKAGES / name)
    (folder / "library/site-packages").mkdir(parents=True)
    (folder / "library/dist-packages").symlink_to("site-packages")
    (folder / "library/site-packages/ipykernel.pth").write_text(f"{folder / 'ipykernel'}\n")
    for entry in LIBRARY.iterdir():
        if entry.name not in {"site-packages", "dist-packages", "__pycache__"}:
            (folder / "library" / entry.name).symlink_to(entry)
    return folder


def _ipykernel_files() -> list[str]:
    wanted, seen, found = ["ipykernel"], set(), set()
    while wanted:
        name = wanted.pop()
        if name in seen:
            continue
        seen.add(name)
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        found |= {file.parts[0] for file in distribution.files or ()}
        required = [one for one in distribution.requires or () if "extra ==" not in one]
        wanted += [re.split(r"[^\w.-]", one, maxsplit=1)[0] for one in required]
    return [name for name in found - {"..", "__pycache__"} if (PACKAGES / name).exists()]


def fakes(folder: Path, packages: Iterable[str]) -> None:
    """Make packages of one line in `folder`: ``lsst.afw`` makes both."""
    folder.mkdir(parents=True, exist_ok=True)
    for package in packages:
        where = folder
        for part in package.split("."):
            where /= part
            where.mkdir(exist_ok=True)
            (where / "__init__.py").write_text(f'__version__ = "6.32.04"\nTREE = {package!r}\n')


def write(file: Path, template: str, **values: str) -> Path:
    """Write a template with ``@NAME@`` filled in."""
    text = (HERE / "templates" / template).read_text()
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def _atlas(top: Path) -> None:
    software = Path("atlas.cern.ch/repo/sw/software")
    platform = "x86_64-el9-gcc13-opt"
    for release in ATLAS_RELEASES:
        project, version = release.split("/")
        series = ".".join(version.split(".")[:2])
        base = software / series / project / version / "InstallArea" / platform
        home = software / series / "sw/lcg/releases" / f"LCG_106_ATLAS_{version}" / "Python" / PY / platform
        python(top / home, ipykernel=release != WITHOUT_IPYKERNEL)
        fakes(top / base / "python", ("ROOT", "AthenaCommon", "AnaAlgorithm", "uproot_of_atlas", "pyhf_of_atlas"))
        values = {"PROJECT": project, "VERSION": version, "PLATFORM": platform, "BASE": f"/cvmfs/{base}"}
        write(top / base / "setup.sh", "asetup-release.sh", PYTHON=f"/cvmfs/{home}", **values)
    root = top / "atlas.cern.ch/repo/ATLASLocalRootBase/x86_64/root/6.32.02-x86_64-el9-gcc13-opt"
    python(root)
    fakes(root / "lib", ["ROOT"])


def _lcg(top: Path) -> None:
    views = top / "sft.cern.ch/lcg/views"
    for release in LCG_RELEASES:
        for platform in LCG_PLATFORMS:
            view = views / release / platform
            write(view / "setup.sh", "lcg-view.sh", RELEASE=release, PY=PY)
            python(view, ("uproot_of_lcg",), home=True)
            fakes(view / "lib", ("ROOT", "cppyy"))
            (view / "share/jupyter/kernels/root").mkdir(parents=True)
            (view / "share/jupyter/kernels/root/kernel.json").write_text(
                '{"argv": ["python3", "-m", "JupyROOT.kernel.rootkernel", "-f", "{connection_file}"],'
                ' "display_name": "ROOT C++", "language": "c++"}'
            )
    (views / "LCG_latest").symlink_to(LCG_RELEASES[-1])


def _belle2(top: Path) -> None:
    area = top / "belle.cern.ch/el9"
    python(area / "externals/v02-03-01/Linux_x86_64/common", ("root_numpy",))
    fakes(area / "externals/v02-03-01/Linux_x86_64/common/root", ["ROOT"])
    for release in ("light-2603-ina", "light-2510-grogu", "release-08-02-05", "prerelease-09-00-00a"):
        folder = area / "releases" / release
        fakes(folder / "lib/Linux_x86_64/opt", ("basf2", "modularAnalysis", "b2", "variables"))
        (folder / ".externals").write_text("v02-03-01\n")
        (folder / "bin/Linux_x86_64/opt").mkdir(parents=True)
        (folder / "bin/Linux_x86_64/opt/basf2").write_text("#!/bin/sh\necho basf2 of the tree\n")


def _cms(top: Path) -> None:
    arch = top / "cms.cern.ch/el9_amd64_gcc12"
    home = arch / "external/python3/3.9.14"
    python(home)
    write(home / "share/sitecustomize/sitecustomize.py", "cms-sitecustomize.py")
    for release in ("CMSSW_13_3_3", "CMSSW_14_0_0", "CMSSW_14_1_0_pre3"):
        folder = arch / "cms/cmssw" / release
        (folder / ".SCRAM/el9_amd64_gcc12").mkdir(parents=True)
        (folder / "src").mkdir()
        (folder / ".SCRAM/release").write_text(f"{release}\n")
        (folder / "bin/el9_amd64_gcc12").mkdir(parents=True)
        fakes(folder / "python", ("FWCore", "FWCore.ParameterSet.Config", "ROOT"))


def _lhcb(top: Path) -> None:
    platform = "x86_64_v2-el9-gcc13-opt"
    python(top / "lhcb.cern.ch/lib/lcg/releases/Python/3.11.9" / platform)
    for project, versions in {"DAVINCI": ("v64r3", "v64r4"), "MOORE": ("v55r1",)}.items():
        for version in versions:
            area = top / "lhcb.cern.ch/lib/lhcb" / project / f"{project}_{version}/InstallArea" / platform
            (area / "bin").mkdir(parents=True)
            fakes(area / "python", ("DaVinci", "GaudiConf", "Gaudi", "PyConf", "ROOT", "GaudiPython", "Configurables"))
    for date in ("2024-01-12_10-00", "2025-06-01_10-00"):
        python(top / f"lhcbdev.cern.ch/conda/envs/default/{date}/linux-64", ("ROOT", "zfit"))


def _alice(top: Path) -> None:
    area = top / "alice.cern.ch/el9-x86_64"
    python(area / "Packages/Python/v3.9.16-13", ("ROOT", "alienpy"))
    for version in ("daily-20250601-0000-1", "daily-20250602-0000-1"):
        fakes(area / "Packages/O2Physics" / version / "python", ["O2Physics"])
        modules = area / "Modules/modulefiles/O2Physics" / version
        modules.parent.mkdir(parents=True, exist_ok=True)
        modules.write_text("#%Module1.0\n")


def _key4hep(top: Path) -> None:
    for where in ("sw.hsf.org", "sw-nightlies.hsf.org"):
        base = top / where / "key4hep"
        if where != "sw.hsf.org":
            shutil.copytree(top / "sw.hsf.org/key4hep", base, ignore=shutil.ignore_patterns("releases"))
        for release in KEY4HEP_RELEASES:
            prefix = base / "releases" / release / "x86_64-almalinux9-gcc14.2.0-opt"
            stack = prefix / "key4hep-stack" / f"{release}-abc123"
            seen = Path("/cvmfs") / prefix.relative_to(top)
            python(prefix / "python/3.11.9-abcdef")
            packages = ("ROOT", "podio", "edm4hep", "dd4hep", "k4FWCore", "Gaudi", "DDG4")
            fakes(prefix / "python-packages", packages)
            values = {"PREFIX": str(seen), "STACK": f"/cvmfs/{stack.relative_to(top)}/setup.sh"}
            write(stack / "setup.sh", "key4hep-stack.sh", PYTHON=f"{seen}/python/3.11.9-abcdef", **values)
        (base / "releases/latest-opt").symlink_to(KEY4HEP_RELEASES[-1])
        (base / "releases/latest").symlink_to(KEY4HEP_RELEASES[-1])


def _icecube(top: Path) -> None:
    base = top / "icecube.opensciencegrid.org"
    current = base / "py3-v4.4.2"
    older = base / "py3-v4.4.1"
    shutil.copytree(current, older)
    for release in (current, older):
        for system in ("RHEL_9_x86_64_v2", "Ubuntu_22.04_x86_64_v2"):
            python(release / system, ("ROOT", "healpy_of_icecube"), home=True)
            meta = release / system / "metaprojects/icetray/v1.12.0"
            write(meta / "env-shell.sh", "icecube-env-shell.sh")
            fakes(meta / "lib", ("icecube", "icecube.icetray", "icecube.dataclasses", "icecube.dataio"))
            (meta.parent / "v1.11.0").mkdir()
            shutil.copytree(meta, meta.parent / "v1.11.0", dirs_exist_ok=True)
    (base / "data").mkdir()


def _dune(top: Path) -> None:
    products = top / "dune.opensciencegrid.org/products/dune"
    python(products / "python/v3_9_15")
    (products / "dunesw/v10_26_00d00").mkdir(parents=True)
    (products / "dunesw/v10_26_00d00/e26.prof").touch()
    fakes(products / "dunesw/v10_26_00d00/python", ("ROOT", "dunesw"))


def _condas(top: Path) -> None:
    igwn = top / "software.igwn.org/conda"
    lsst = top / "sw.lsst.eu/almalinux-x86_64/lsst_distrib"
    conda(igwn, igwn, dict.fromkeys(("igwn-py310", "igwn-py311"), ("lal", "lalsimulation", "gwpy", "pycbc")), top)
    for release in ("w_2025_01", "w_2025_20", "v29_0_0"):
        base = lsst / release
        environments = {"lsst-scipipe-10.0.0": ("astropy_of_lsst",), "lsst-scipipe-10.0.0-ext": ("astropy_of_lsst",)}
        conda(base / "conda", base / "conda", environments, top)
        for name in ("loadLSST.bash", "loadLSST-ext.bash"):
            write(base / name, "loadLSST.bash", BASE=f"/cvmfs/{base.relative_to(top)}")
        packages = (
            "lsst",
            "lsst.afw",
            "lsst.daf",
            "lsst.daf.butler",
            "lsst.utils",
            "lsst.pipe",
            "lsst.pipe.base",
            "lsst.geom",
        )
        fakes(base / "stack/lsst_distrib/python", packages)
        (base / "stack/lsst_distrib/bin").mkdir()


def conda(root: Path, base: Path, environments: Mapping[str, Iterable[str]], top: Path) -> None:
    """Make a conda of several environments."""
    write(root / "etc/profile.d/conda.sh", "conda.sh", CONDA=f"/cvmfs/{base.relative_to(top)}")
    (root / "condabin").mkdir(exist_ok=True)
    for name, packages in environments.items():
        prefix = root / "envs" / name
        python(prefix, packages)
        (prefix / "conda-meta").mkdir()
        (prefix / "conda-meta/history").touch()
        write(prefix / "etc/conda/activate.d/binutils.sh", "conda-activate.sh")


def lmod(folder: Path, modules: Mapping[str, Iterable[str]], at: Path | None = None) -> Path:
    """Make an Lmod in `folder`, with modulefiles in `at` or its own folder; modules are lists of lines."""
    shutil.copytree(HERE / "templates/lmod", folder, dirs_exist_ok=True)
    for file in (folder / "libexec").iterdir():
        file.chmod(0o755)
    for name, lines in modules.items():
        file = (at or folder / "modulefiles") / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(f"{line}\n" for line in lines))
    return folder


def _lmods(top: Path) -> None:
    cc = top / "soft.computecanada.ca"
    software = cc / "easybuild/software/2023/x86-64-v3"
    python(software / "Compiler/gcccore/python/3.11.5", ipykernel=False)
    fakes(software / "Core/ipykernel/2024a/lib", ["ipykernel_of_cc"])
    add_ipykernel(software / "Core/ipykernel/2024a/lib")
    seen = f"/cvmfs/{software.relative_to(top)}"
    modules = {
        "StdEnv/2020": ["setenv EBROOTSTDENV /cvmfs/soft.computecanada.ca", "setenv EBVERSIONSTDENV 2020"],
        "StdEnv/2023": ["setenv EBROOTSTDENV /cvmfs/soft.computecanada.ca", "setenv EBVERSIONSTDENV 2023"],
        "python/3.11": _module(f"{seen}/Compiler/gcccore/python/3.11.5", "PYTHON", "3.11.5"),
        "ipykernel/2024a": [
            "depends-on python/3.11",
            f"prepend-path PYTHONPATH {seen}/Core/ipykernel/2024a/lib",
            f"prepend-path EBPYTHONPREFIXES {seen}/Core/ipykernel/2024a",
            f"setenv EBROOTIPYKERNEL {seen}/Core/ipykernel/2024a",
        ],
        "scipy-stack/2024a": ["depends-on ipykernel/2024a", "setenv EBROOTSCIPYMINSTACK /cvmfs/soft.computecanada.ca"],
    }
    lmod(cc / "custom/software/lmod/lmod", modules, at=cc / "custom/modules")
    osg = top / "oasis.opensciencegrid.org/osg"
    python(osg / "modules/software/python-3.7.0")
    home = "/cvmfs/oasis.opensciencegrid.org/osg/modules/software/python-3.7.0"
    lines = _module(home, "PYTHON", "3.7.0")
    lmod(osg / "sw/lmod/lmod", {"python/3.7": lines, "python/2.7": lines}, at=osg / "modules/modulefiles/Core")


def _module(prefix: str, name: str, version: str) -> list[str]:
    return [
        f"prepend-path PATH {prefix}/bin",
        f"prepend-path LD_LIBRARY_PATH {prefix}/lib",
        f"setenv EBROOT{name} {prefix}",
        f"setenv EBVERSION{name} {version}",
    ]


def _eessi(top: Path) -> None:
    base = top / "software.eessi.io"
    for version, kept in {"2023.06": "bash", "2025.06": "lmod/bash"}.items():
        where = base / "versions" / version
        for name in ("bash", "eessi_environment_variables", "lmod/bash"):
            write(where / "init" / name, f"eessi/init/{name}", VERSION=version)
        lmod(where / "compat/linux/x86_64/usr/share/Lmod", {})
        software = where / "software/linux/x86_64/generic"
        python(software / "software/Python/3.11.5-GCCcore-13.2.0", ipykernel=False)
        lab = software / "software/JupyterLab/4.2.0-GCCcore-13.2.0"
        fakes(lab / "lib", ["jupyterlab_of_eessi"])
        add_ipykernel(lab / "lib")
        seen = f"/cvmfs/{software.relative_to(top)}/software"
        plain = _module(f"{seen}/Python/3.11.5-GCCcore-13.2.0", "PYTHON", "3.11.5")
        with_kernel = [
            "depends-on Python/3.11.5-GCCcore-13.2.0",
            f"prepend-path PYTHONPATH {seen}/JupyterLab/4.2.0-GCCcore-13.2.0/lib",
            f"setenv EBROOTJUPYTERLAB {seen}/JupyterLab/4.2.0-GCCcore-13.2.0",
        ]
        for name, lines in {
            "Python/3.11.5-GCCcore-13.2.0": plain,
            "JupyterLab/4.2.0-GCCcore-13.2.0": with_kernel,
            "IPython/8.17.2-GCCcore-13.2.0": with_kernel,
            "jupyter-server/2.14.0-GCCcore-13.2.0": with_kernel,
            "ROOT/6.30.06-foss-2023b": ["depends-on JupyterLab/4.2.0-GCCcore-13.2.0", f"setenv EBROOTROOT {seen}/ROOT"],
        }.items():
            file = software / "modules/all" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("".join(f"{line}\n" for line in lines))
        core = base / "init/modules/EESSI" / version
        core.parent.mkdir(parents=True, exist_ok=True)
        core.write_text(
            f"prepend-path MODULEPATH /cvmfs/{software.relative_to(top)}/modules/all\n"
            f"setenv EESSI_VERSION {version}\nsetenv EESSI_PREFIX /cvmfs/software.eessi.io/versions/{version}\n"
            f"setenv EESSI_CVMFS_REPO /cvmfs/software.eessi.io\nsetenv EESSI_SOFTWARE_SUBDIR x86_64/generic\n"
            f"setenv EESSI_EPREFIX /cvmfs/software.eessi.io/versions/{version}/compat/linux/x86_64\n"
        )
        assert (where / "init" / kept).exists()


def _sphenix(top: Path) -> None:
    base = top / "sphenix.sdcc.bnl.gov/alma9.2-gcc-14.2.0"
    core = base / "opt/sphenix/core"
    write(core / "bin/sphenix_setup.sh", "sphenix_setup.sh")
    python(core)
    for release in ("release_ana/ana.403", "release_ana/ana.450", "release_new/new"):
        fakes(base / "release" / release / "python", ("ROOT", "pyfun4all"))
        (base / "release" / release / "bin").mkdir()
    shutil.copytree(base, top / "sphenix.sdcc.bnl.gov/gcc-12.1.0", symlinks=True)
