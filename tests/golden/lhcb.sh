#!/bin/bash
# The kernel lhcb, made by htcmagic: htc-kernel create --cvmfs lhcb
# setup.sh -f CONNECTION_FILE      starts the kernel, as Jupyter does
# setup.sh --run COMMAND [WORD…]   runs a command in the same environment;  --python [WORD…]  its python
# setup.sh --refresh               keeps the environment of the set-up anew, for kernels with a snapshot
# shellcheck disable=SC1003,SC1090,SC1091,SC2016,SC2034,SC2053,SC2086,SC2154,SC2206,SC2329

# (htcmagic/kernels: start)

htc_kernel=lhcb
htc_creator=/usr/bin/python3
htc_timeout_s=300
htc_has_setup=1
htc_snapshot=
htc_platform=''
htc_release=default/2025-06-01_10-00
htc_python=python3
htc_markers=()
htc_launch='exec(__import__("os").environ.pop("HTCMAGIC_LAUNCHER"))  # python -m ipykernel_launcher'
htc_launcher='# (htcmagic/kernels: launcher)
'

# (htcmagic/kernels: begin)

htc_begin

# (htcmagic/kernels: emit)

# (htcmagic/kernels: run)

# What another python or another stack has left behind.
htc_scrub() {
    for htc_word in "$VIRTUAL_ENV" "$CONDA_PREFIX"; do
        [[ -z $htc_word ]] || { PATH=:$PATH: PATH=${PATH//":$htc_word/bin:"/:} PATH=${PATH#:} PATH=${PATH%:}; }
    done
    unset -v PYTHONHOME PYTHONPATH PYTHONSTARTUP PYTHONUSERBASE PYTHONEXECUTABLE PYTHONSAFEPATH PYTHONPLATLIBDIR PYTHONNOUSERSITE LD_LIBRARY_PATH LD_PRELOAD LD_AUDIT "${!VIRTUAL_ENV@}" "${!CONDA_@}" "${!_CE_@}" "${!MAMBA_@}" JUPYTER_PATH JUPYTER_CONFIG_PATH ROOTSYS ROOT_INCLUDE_PATH CMAKE_PREFIX_PATH "${!CLING_@}" DYLD_LIBRARY_PATH "${!ALRB_@}" "${!ATLAS_LOCAL_@}" AtlasProject "${!AtlasSetup@}" "${!BELLE2_@}" "${!CMSSW_@}" "${!SCRAM@}" "${!LCG_@}" "${!KEY4HEP_@}" "${!key4hep_@}" "${!EESSI_@}" "${!LBENV_@}" "${!SROOT@}" "${!I3_@}" PRODUCTS "${!SETUP_@}" "${!UPS_@}" "${!EUPS_@}" "${!GEANT4@}" LOADEDMODULES "${!_LMFILES_@}" "${!_ModuleTable@}" "${!__LMOD_@}" "${!LMOD_@}" "${!MODULEPATH@}" MODULESHOME "${!EBROOT@}" "${!EBVERSION@}" "${!EBDEVEL@}" EBPYTHONPREFIXES JAVA_HOME FONTCONFIG_PATH PKG_CONFIG_PATH PYTHON3PATH GIT_EXEC_PATH QT_PLUGIN_PATH "${!G4@}" BINARY_TAG CMTCONFIG LHCBPROJECTPATH MYSITEROOT User_release_area "${!GAUDI@}"
    unset -f module ml _module_raw _moduleraw
}

htc_places() {
    declare -p htc_under >/dev/null 2>&1 || htc_under=(/cvmfs/lhcbdev.cern.ch/ /cvmfs/lhcb.cern.ch/ /cvmfs/sft.cern.ch/)
}
htc_finish() {
    [[ $htc_posix == none ]] || export POSIXLY_CORRECT=$htc_posix
    export PYTHONNOUSERSITE=1
}

# ---- 5. The set-up itself, from here on in a process of its own.
htc_main
# (htcmagic/kernels: mounted)

htc_mounted lhcb.cern.ch
htc_entry /cvmfs/lhcb.cern.ch/lib/LbEnv
# -- lhcb/setup.sh
# Its aliases (lb-set-platform …) are part of it.
shopt -s expand_aliases
source /cvmfs/lhcb.cern.ch/lib/LbEnv
case $htc_release in
    [A-Z]*) htc_exec=(lb-run ${htc_platform:+-c "$htc_platform"} "$htc_release") ;;
    *)
        htc_mounted lhcbdev.cern.ch
        htc_exec=(lb-conda "${htc_release:-default}")
        ;;
esac
type -P "${htc_exec[0]}" >/dev/null || htc_refuse "LbEnv did not work: there is no ${htc_exec[0]} after it"
# -- end of lhcb/setup.sh
# ---- The set-up's end.
\htc_through_command
