"""Stacks of ours with options, and what must be true in their kernels, told without looking at their data.

Stacks that need an image are tested with images.
"""

from __future__ import annotations

from dataclasses import dataclass

from cvmfs import tree


@dataclass(frozen=True)
class Case:
    """One stack with its options.

    Attributes
    ----------
    stack, options : str, mapping
        What is asked for.
    resolved : mapping
        What must be chosen.
    python : str
        Its ``sys.executable``.
    values : mapping
        Variables and their values; one that ends in a slash must only be there.
    packages : tuple of str
        What only its python can import.
    command, command_says : str
        What ``bash -c`` can do in a cell, by a function or a program of the stack, and what that prints.
    wrong : tuple of pairs
        Options with values that there are not.
    """

    stack: str
    options: dict[str, str]
    resolved: dict[str, str]
    python: str
    values: dict[str, str]
    packages: tuple[str, ...] = ()
    command: str = ""
    command_says: str = ""
    wrong: tuple[tuple[str, str], ...] = ()


LCG = "/cvmfs/sft.cern.ch/lcg/views"
ATLAS = "/cvmfs/atlas.cern.ch/repo"
CASES = {
    "atlas-view": Case(
        "atlas",
        {},
        {"release": "LCG_107", "platform": "x86_64-el9-gcc13-opt"},
        f"{LCG}/LCG_107/x86_64-el9-gcc13-opt/bin/python3",
        {"LCG_VERSION": "LCG_107", "ATLAS_LOCAL_ROOT_BASE": f"{ATLAS}/ATLASLocalRootBase"},
        ("ROOT",),
        "lsetup rucio",
        "Requested:  rucio",
        (("release", "LCG_999"),),
    ),
    "atlas-asetup": Case(
        "atlas",
        {"release": "AnalysisBase,25.2.15"},
        {"release": "AnalysisBase,25.2.15"},
        f"{ATLAS}/sw/software/25.2/sw/lcg/releases/LCG_106_ATLAS_25.2.15/Python/{tree.PY}/x86_64-el9-gcc13-opt/bin/python3",
        {"AtlasProject": "AnalysisBase", "AtlasVersion": "25.2.15", "AnalysisBase_SET_UP": "1"},
        ("ROOT", "AnaAlgorithm"),
        "lsetup nothing",
        "Error: nothing is not a tool",
        (("release", "AnalysisBase,99.9.9"),),
    ),
    "lcg": Case(
        "lcg",
        {"release": "LCG_105"},
        {"release": "LCG_105", "platform": "x86_64-el9-gcc13-opt"},
        f"{LCG}/LCG_105/x86_64-el9-gcc13-opt/bin/python3",
        {"LCG_VERSION": "LCG_105", "PYTHONHOME": f"{LCG}/LCG_105/x86_64-el9-gcc13-opt", "CC": "gcc"},
        ("ROOT", "cppyy"),
        wrong=(("release", "LCG_999"), ("platform", "x86_64-slc6-gcc62-opt")),
    ),
    "belle2": Case(
        "belle2",
        {"release": "light-2603-ina"},
        {"release": "light-2603-ina"},
        "/cvmfs/belle.cern.ch/el9/externals/v02-03-01/Linux_x86_64/common/bin/python3",
        {"BELLE2_RELEASE": "light-2603-ina", "BELLE2_TOOLS": "/cvmfs/belle.cern.ch/tools"},
        ("basf2", "modularAnalysis", "ROOT"),
        "basf2",
        "basf2 of the tree",
        (("release", "light-1"),),
    ),
    "cms": Case(
        "cms",
        {},
        {"release": "CMSSW_14_0_0", "platform": "el9_amd64_gcc12"},
        "/cvmfs/cms.cern.ch/el9_amd64_gcc12/external/python3/3.9.14/bin/python3",
        {"CMSSW_VERSION": "CMSSW_14_0_0", "SCRAM_ARCH": "el9_amd64_gcc12"},
        ("FWCore.ParameterSet.Config", "ROOT"),
        "cmsenv",
        "",
        (("release", "CMSSW_1_0_0"),),
    ),
    "lhcb-conda": Case(
        "lhcb",
        {},
        {"release": "default/2025-06-01_10-00"},
        "/cvmfs/lhcbdev.cern.ch/conda/envs/default/2025-06-01_10-00/linux-64/bin/python3",
        {"CONDA_DEFAULT_ENV": "default", "LBENV_SOURCED": "/cvmfs/lhcb.cern.ch/lib/LbEnv"},
        ("zfit",),
        "lb-run --list DaVinci",
        "DAVINCI_v64r4",
        (("release", "default/1999-01-01"),),
    ),
    "lhcb-run": Case(
        "lhcb",
        {"release": "DaVinci/v64r4"},
        {"release": "DaVinci/v64r4"},
        "/cvmfs/lhcb.cern.ch/lib/lcg/releases/Python/3.11.9/x86_64_v2-el9-gcc13-opt/bin/python3",
        {"DAVINCI_PROJECT_VERSION": "v64r4", "BINARY_TAG": "x86_64_v2-el9-gcc13-opt"},
        ("DaVinci", "PyConf"),
        wrong=(("release", "DaVinci/v1r0"),),
    ),
    "alice": Case(
        "alice",
        {},
        {"release": "daily-20250602-0000-1", "package": "O2Physics"},
        "/cvmfs/alice.cern.ch/el9-x86_64/Packages/Python/v3.9.16-13/bin/python3",
        {"O2PHYSICS_VERSION": "daily-20250602-0000-1"},
        ("O2Physics",),
        wrong=(("release", "daily-19990101-0000-1"),),
    ),
    "key4hep": Case(
        "key4hep",
        {},
        {"release": "2025-05-29"},
        "/cvmfs/sw.hsf.org/key4hep/releases/2025-05-29/x86_64-almalinux9-gcc14.2.0-opt/python/3.11.9-abcdef/bin/python3",
        {"key4hep_stack_version": "2025-05-29", "LC_ALL": "C"},
        ("podio", "edm4hep"),
        wrong=(("release", "1999-01-01"), ("build", "dbg")),
    ),
    "key4hep-nightly": Case(
        "key4hep",
        {"release": "nightlies,2024-10-03"},
        {"release": "nightlies,2024-10-03"},
        "/cvmfs/sw-nightlies.hsf.org/key4hep/releases/2024-10-03/x86_64-almalinux9-gcc14.2.0-opt/python/3.11.9-abcdef/bin/python3",
        {"key4hep_stack_version": "2024-10-03"},
        wrong=(("release", "nightlies,1999-01-01"),),
    ),
    "icecube": Case(
        "icecube",
        {},
        {"release": "py3-v4.4.2", "metaproject": "icetray/v1.12.0"},
        "/cvmfs/icecube.opensciencegrid.org/py3-v4.4.2/RHEL_9_x86_64_v2/bin/python3",
        {"I3_SHELL": "bash", "OS_ARCH": "RHEL_9_x86_64_v2", "GOTO_NUM_THREADS": "1"},
        ("icecube.icetray", "ROOT"),
        wrong=(("release", "py3-v1.0.0"), ("metaproject", "icetray/v0.0.1")),
    ),
    "igwn": Case(
        "igwn",
        {},
        {"release": "igwn-py311"},
        "/cvmfs/software.igwn.org/conda/envs/igwn-py311/bin/python3",
        {
            "CONDA_DEFAULT_ENV": "igwn-py311",
            "LAL_DATA_PATH": "/cvmfs/software.igwn.org/conda/envs/igwn-py311/share/lal",
        },
        ("lal", "gwpy"),
        wrong=(("release", "igwn-py27"),),
    ),
    "lsst": Case(
        "lsst",
        {},
        {"release": "v29_0_0", "platform": "almalinux-x86_64"},
        "/cvmfs/sw.lsst.eu/almalinux-x86_64/lsst_distrib/v29_0_0/conda/envs/lsst-scipipe-10.0.0/bin/python3",
        {"LSST_DISTRIB_DIR": "/cvmfs/sw.lsst.eu/almalinux-x86_64/lsst_distrib/v29_0_0/stack/lsst_distrib"},
        ("lsst.afw", "lsst.daf.butler"),
        "setup nothing",
        "setup: Product nothing not found",
        (("release", "w_1999_01"),),
    ),
    "eessi": Case(
        "eessi",
        {},
        {"release": "2025.06"},
        "/cvmfs/software.eessi.io/versions/2025.06/software/linux/x86_64/generic/software/Python/3.11.5-GCCcore-13.2.0/bin/python3",
        {"EESSI_VERSION": "2025.06", "EBVERSIONPYTHON": "3.11.5"},
        ("jupyterlab_of_eessi",),
        "module list",
        "JupyterLab",
        (("release", "1999.01"), ("modules", "nothing")),
    ),
    "eessi-older": Case(
        "eessi",
        {"release": "2023.06", "modules": "JupyterLab ROOT"},
        {"release": "2023.06"},
        "/cvmfs/software.eessi.io/versions/2023.06/software/linux/x86_64/generic/software/Python/3.11.5-GCCcore-13.2.0/bin/python3",
        {"EESSI_VERSION": "2023.06", "EBROOTROOT": "/cvmfs/"},
    ),
    "computecanada": Case(
        "computecanada",
        {"modules": "scipy-stack/2024a"},
        {"release": "2023"},
        "/cvmfs/soft.computecanada.ca/easybuild/software/2023/x86-64-v3/Compiler/gcccore/python/3.11.5/bin/python3",
        {"EBROOTSCIPYMINSTACK": "/cvmfs/", "EBVERSIONPYTHON": "3.11.5"},
        ("ipykernel_of_cc",),
        "module list",
        "scipy-stack",
        (("release", "1999"), ("python_version", "2.1")),
    ),
    "osg-modules": Case(
        "osg-modules",
        {},
        {},
        "/cvmfs/oasis.opensciencegrid.org/osg/modules/software/python-3.7.0/bin/python3",
        {"EBVERSIONPYTHON": "3.7.0"},
        wrong=(("modules", "nothing"),),
    ),
    "sphenix": Case(
        "sphenix",
        {"release": "ana.403"},
        {"release": "ana.403", "platform": "alma9.2-gcc-14.2.0"},
        "/cvmfs/sphenix.sdcc.bnl.gov/alma9.2-gcc-14.2.0/opt/sphenix/core/bin/python3",
        {"OFFLINE_MAIN": "/cvmfs/sphenix.sdcc.bnl.gov/alma9.2-gcc-14.2.0/release/release_ana/ana.403"},
        ("pyfun4all",),
        wrong=(("release", "ana.1"),),
    ),
}
