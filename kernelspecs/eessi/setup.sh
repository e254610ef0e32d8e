stack_base=/cvmfs/software.eessi.io/versions/$htc_release/init
if [[ -r $stack_base/lmod/bash ]]; then source "$stack_base/lmod/bash"; else source "$stack_base/bash"; fi
[[ -n $EESSI_SOFTWARE_SUBDIR && -n $(type -t module) ]] || htc_refuse "EESSI $htc_release could not be initialised"
read -r -a stack_words <<<"$htc_modules"
for stack_word in "${stack_words[@]}"; do
    module load "$stack_word" || htc_refuse "module load $stack_word failed"
done
