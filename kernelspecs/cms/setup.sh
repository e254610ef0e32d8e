stack_area=
if [[ $htc_release == [/~]* ]]; then
    stack_area=${htc_release/#~/$HOME}
    for stack_word in "$stack_area"/.SCRAM/*_*_*/ "$stack_area"/../.SCRAM/*_*_*/; do
        [[ ! -d $stack_word || -n $htc_platform ]] || htc_platform=$(basename "$stack_word")
    done
fi
[[ -z $htc_platform ]] || export SCRAM_ARCH=$htc_platform
source /cvmfs/cms.cern.ch/cmsset_default.sh
if [[ -z $stack_area ]]; then
    for stack_word in cmssw cmssw-patch; do
        [[ -n $stack_area || ! -d /cvmfs/cms.cern.ch/$SCRAM_ARCH/cms/$stack_word/$htc_release ]] ||
            stack_area=/cvmfs/cms.cern.ch/$SCRAM_ARCH/cms/$stack_word/$htc_release
    done
    [[ -n $stack_area ]] || htc_refuse "$htc_release is not there for $SCRAM_ARCH"
fi
# scram tells for which area by the folder it is called in.
cd -- "$stack_area" || htc_refuse "$stack_area is not there"
stack_said=$(scramv1 runtime -sh) || htc_refuse "scramv1 runtime failed in $stack_area"
eval "$stack_said"
