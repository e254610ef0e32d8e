# Does nothing for system users or with ~/.skip_cc_cvmfs, unless it is forced to.
if [[ -e $HOME/.skip_cc_cvmfs ]]; then
    SKIP_CC_CVMFS=1
fi
if [[ ($UID -ge 1000 && $SKIP_CC_CVMFS -ne 1) || ($FORCE_CC_CVMFS -eq 1) ]]; then
    export CC_CLUSTER=${CC_CLUSTER:-computecanada} RSNT_ARCH=${RSNT_ARCH:-avx2}
    export MODULEPATH=/cvmfs/soft.computecanada.ca/custom/modules
    source /cvmfs/soft.computecanada.ca/custom/software/lmod/lmod/init/bash
    if [ -z "$__Init_Default_Modules" ]; then
        export __Init_Default_Modules=1 LMOD_SYSTEM_DEFAULT_MODULES=${LMOD_SYSTEM_DEFAULT_MODULES:-StdEnv/2023}
        module --initial_load restore
    fi
fi
