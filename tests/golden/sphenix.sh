#!/bin/bash
# The kernel sphenix, made by htcmagic: htc-kernel create --cvmfs sphenix
# setup.sh -f CONNECTION_FILE      starts the kernel, as Jupyter does
# setup.sh --run COMMAND [WORD…]   runs a command in the same environment;  --python [WORD…]  its python
# setup.sh --refresh               keeps the environment of the set-up anew, for kernels with a snapshot
# shellcheck disable=SC1003,SC1090,SC1091,SC2016,SC2034,SC2053,SC2086,SC2154,SC2206,SC2329

# (htcmagic/kernels: start)

htc_kernel=sphenix
htc_creator=/usr/bin/python3
htc_timeout_s=300
htc_has_setup=1
htc_snapshot=
htc_install=''
htc_platform=alma9.2-gcc-14.2.0
htc_release=ana.541
htc_python=python3
htc_markers=(OFFLINE_MAIN)
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
    unset -v PYTHONHOME PYTHONPATH PYTHONSTARTUP PYTHONUSERBASE PYTHONEXECUTABLE PYTHONSAFEPATH PYTHONPLATLIBDIR PYTHONNOUSERSITE LD_LIBRARY_PATH LD_PRELOAD LD_AUDIT "${!VIRTUAL_ENV@}" "${!CONDA_@}" "${!_CE_@}" "${!MAMBA_@}" JUPYTER_PATH JUPYTER_CONFIG_PATH ROOTSYS ROOT_INCLUDE_PATH CMAKE_PREFIX_PATH "${!CLING_@}" DYLD_LIBRARY_PATH "${!ALRB_@}" "${!ATLAS_LOCAL_@}" AtlasProject "${!AtlasSetup@}" "${!BELLE2_@}" "${!CMSSW_@}" "${!SCRAM@}" "${!LCG_@}" "${!KEY4HEP_@}" "${!key4hep_@}" "${!EESSI_@}" "${!LBENV_@}" "${!SROOT@}" "${!I3_@}" PRODUCTS "${!SETUP_@}" "${!UPS_@}" "${!EUPS_@}" "${!GEANT4@}" LOADEDMODULES "${!_LMFILES_@}" "${!_ModuleTable@}" "${!__LMOD_@}" "${!LMOD_@}" "${!MODULEPATH@}" MODULESHOME "${!EBROOT@}" "${!EBVERSION@}" "${!EBDEVEL@}" EBPYTHONPREFIXES JAVA_HOME FONTCONFIG_PATH PKG_CONFIG_PATH PYTHON3PATH GIT_EXEC_PATH QT_PLUGIN_PATH "${!G4@}" OFFLINE_MAIN ONLINE_MAIN OPT_SPHENIX OPT_UTILS "${!ORIG_@}" MYINSTALL
    unset -f module ml _module_raw _moduleraw
}

htc_places() {
    declare -p htc_under >/dev/null 2>&1 || htc_under=(/cvmfs/sphenix.sdcc.bnl.gov/ /opt/sphenix/)
}
htc_finish() {
    [[ $htc_posix == none ]] || export POSIXLY_CORRECT=$htc_posix
    export PYTHONNOUSERSITE=1
}

# ---- 5. The set-up itself, from here on in a process of its own.
htc_main
# (htcmagic/kernels: mounted)

htc_mounted sphenix.sdcc.bnl.gov
# -- sphenix/setup.sh
# At BNL and in its images the packages lie in /opt.
stack_script=/cvmfs/sphenix.sdcc.bnl.gov/$htc_platform/opt/sphenix/core/bin/sphenix_setup.sh
[[ -n $htc_platform && -r $stack_script ]] || stack_script=/opt/sphenix/core/bin/sphenix_setup.sh
htc_entry "$stack_script"
export USER=${USER:-$(id -un)}
export LOGNAME=${LOGNAME:-$USER}
source "$stack_script" -n "${htc_release:-new}"
[[ -d $OFFLINE_MAIN ]] || htc_refuse "sPHENIX ${htc_release:-new} is not there: its set-up gave OFFLINE_MAIN=$OFFLINE_MAIN"
if [[ -n $htc_install ]]; then
    export MYINSTALL=$htc_install
    source "$OPT_SPHENIX/bin/setup_local.sh" "$htc_install"
fi
# -- end of sphenix/setup.sh
# ---- The set-up's end.
\htc_emit
