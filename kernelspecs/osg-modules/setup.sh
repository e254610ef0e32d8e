source /cvmfs/oasis.opensciencegrid.org/osg/sw/module-init.sh
[[ -n $(type -t module) ]] || htc_refuse "module-init.sh did not work: there is no module after it"
read -r -a stack_words <<<"$htc_modules"
for stack_word in "${stack_words[@]}"; do
    module load "$stack_word" || htc_refuse "module load $stack_word failed"
done
