#!/bin/bash
# The kernel atlas, made by htcmagic: htc-kernel create --cvmfs atlas
# setup.sh -f CONNECTION_FILE      starts the kernel, as Jupyter does
# setup.sh --run COMMAND [WORD…]   runs a command in the same environment;  --python [WORD…]  its python
# setup.sh --refresh               keeps the environment of the set-up anew, for kernels with a snapshot
# shellcheck disable=SC1003,SC1090,SC1091,SC2016,SC2034,SC2053,SC2086,SC2154,SC2206,SC2329

# (htcmagic/kernels: start)

htc_kernel=atlas
htc_creator=/usr/bin/python3
htc_timeout_s=300
htc_has_setup=1
htc_snapshot=
htc_platform=''
htc_release=AnalysisBase,25.2.15
htc_tools='rucio -w'
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
    unset -v PYTHONHOME PYTHONPATH PYTHONSTARTUP PYTHONUSERBASE PYTHONEXECUTABLE PYTHONSAFEPATH PYTHONPLATLIBDIR PYTHONNOUSERSITE LD_LIBRARY_PATH LD_PRELOAD LD_AUDIT "${!VIRTUAL_ENV@}" "${!CONDA_@}" "${!_CE_@}" "${!MAMBA_@}" JUPYTER_PATH JUPYTER_CONFIG_PATH ROOTSYS ROOT_INCLUDE_PATH CMAKE_PREFIX_PATH "${!CLING_@}" DYLD_LIBRARY_PATH "${!ALRB_@}" "${!ATLAS_LOCAL_@}" AtlasProject "${!AtlasSetup@}" "${!BELLE2_@}" "${!CMSSW_@}" "${!SCRAM@}" "${!LCG_@}" "${!KEY4HEP_@}" "${!key4hep_@}" "${!EESSI_@}" "${!LBENV_@}" "${!SROOT@}" "${!I3_@}" PRODUCTS "${!SETUP_@}" "${!UPS_@}" "${!EUPS_@}" "${!GEANT4@}" LOADEDMODULES "${!_LMFILES_@}" "${!_ModuleTable@}" "${!__LMOD_@}" "${!LMOD_@}" "${!MODULEPATH@}" MODULESHOME "${!EBROOT@}" "${!EBVERSION@}" "${!EBDEVEL@}" EBPYTHONPREFIXES JAVA_HOME FONTCONFIG_PATH PKG_CONFIG_PATH PYTHON3PATH GIT_EXEC_PATH QT_PLUGIN_PATH "${!G4@}" COMPILER TestArea AtlasVersion AtlasArea AtlasBaseDir "${!AtlasPatch@}" "${!AnalysisBase@}" "${!AthAnalysis@}" "${!StatAnalysis@}" "${!Athena_@}"
    unset -f module ml _module_raw _moduleraw
}

htc_places() {
    declare -p htc_under >/dev/null 2>&1 || htc_under=()
}
htc_finish() {
    [[ $htc_posix == none ]] || export POSIXLY_CORRECT=$htc_posix
    export PYTHONNOUSERSITE=1
}

# ---- 5. The set-up itself, from here on in a process of its own.
htc_main
# (htcmagic/kernels: mounted)

htc_mounted atlas.cern.ch
htc_entry /cvmfs/atlas.cern.ch/repo/ATLASLocalRootBase/user/atlasLocalSetup.sh
# -- atlas/setup.sh
export ATLAS_LOCAL_ROOT_BASE=/cvmfs/atlas.cern.ch/repo/ATLASLocalRootBase
source "$ATLAS_LOCAL_ROOT_BASE/user/atlasLocalSetup.sh" --quiet
# Whatever it returns: when it has not worked there is no lsetup.
[[ -n $(type -t lsetup) ]] || htc_refuse "ATLASLocalRootBase did not work: there is no lsetup after it"
htc_markers=(ATLAS_LOCAL_ROOT_BASE)
case $htc_release in
    '' | none) ;;
    LCG_*)
        htc_mounted sft.cern.ch
        htc_entry "/cvmfs/sft.cern.ch/lcg/views/$htc_release/$htc_platform/setup.sh"
        # What lsetup views does. Without a word more: the view would take it for its own path.
        source "/cvmfs/sft.cern.ch/lcg/views/$htc_release/$htc_platform/setup.sh"
        htc_markers=(LCG_VERSION) htc_under=(/cvmfs/sft.cern.ch/)
        ;;
    root | root\ *)
        lsetup "$htc_release"
        htc_markers=(ROOTSYS)
        ;;
    *\ *)
        lsetup "$htc_release"
        ;;
    *)
        # asetup is a function in some versions, an alias (none here, in a script) in others, and first needs lsetup in some.
        if [[ $(type -t asetup) == function ]]; then
            asetup "$htc_release"
        elif [[ -n $AtlasSetup && -r $AtlasSetup/scripts/asetup.sh ]]; then
            source "$AtlasSetup/scripts/asetup.sh" "$htc_release"
        else
            lsetup "asetup $htc_release"
        fi
        htc_markers=(AtlasProject) htc_under=(/cvmfs/)
        ;;
esac
IFS=, read -r -a stack_words <<<"$htc_tools"
[[ ${#stack_words[@]} == 0 ]] || lsetup "${stack_words[@]}"
# So that !lsetup works in a cell: what it calls comes along.
for stack_word in lsetup asetup appendPath insertPath deletePath; do
    [[ $(type -t "$stack_word") != function ]] || declare -fx "$stack_word"
done
# -- end of atlas/setup.sh
# ---- The set-up's end.
\htc_emit
