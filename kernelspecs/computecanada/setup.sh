source /cvmfs/soft.computecanada.ca/config/profile/bash.sh
[[ -n $(type -t module) ]] || htc_refuse "Compute Canada's profile did not work: there is no module after it"
read -r -a stack_words <<<"$htc_modules"
for stack_word in "StdEnv/${htc_release#StdEnv/}" "python/$htc_python_version" "ipykernel${htc_ipykernel:+/$htc_ipykernel}" "${stack_words[@]}"; do
    module load "$stack_word" || htc_refuse "module load $stack_word failed"
done
