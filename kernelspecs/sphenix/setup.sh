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
