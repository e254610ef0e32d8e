stack_said=$(/cvmfs/alice.cern.ch/bin/alienv printenv "VO_ALICE@$htc_package::$htc_release") ||
    htc_refuse "alienv does not know VO_ALICE@$htc_package::$htc_release"
eval "$stack_said"
stack_variable=${htc_package^^}
stack_variable=${stack_variable//[!A-Z0-9]/_}_ROOT
[[ -n ${!stack_variable} || -n $LOADEDMODULES ]] ||
    htc_refuse "alienv did not work: neither $stack_variable nor LOADEDMODULES is set after it"
