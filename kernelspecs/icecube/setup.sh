# For eval, not to be sourced: it finds itself by $0. What it prints is in the syntax of $SHELL.
stack_said=$(SHELL=/bin/bash "/cvmfs/icecube.opensciencegrid.org/$htc_release/setup.sh") ||
    htc_refuse "the set-up of $htc_release failed"
eval "$stack_said"
[[ -d $SROOT ]] || htc_refuse "$htc_release is not built for this machine: $SROOT is not there"
if [[ -n $htc_metaproject && $htc_metaproject != none ]]; then
    stack_script=$SROOT/metaprojects/$htc_metaproject/env-shell.sh
    htc_entry "$stack_script"
    # It runs a command; what it prints itself goes to the log.
    stack_said=$(SHELL=/bin/bash "$stack_script" /bin/bash -c 'export -p >&9' 9>&1 >&2)
    [[ $stack_said == *I3_BUILD=* ]] || htc_refuse "$stack_script did not work"
    eval "$stack_said"
fi
