unset -f module ml
for stack_word in ${htc_init:+"$htc_init"} "${htc_module_homes[@]/%//init/bash}" /usr/share/lmod/lmod/init/bash \
    /usr/share/modules/init/bash /usr/share/Modules/init/bash /etc/profile.d/lmod.sh /etc/profile.d/modules.sh; do
    [[ -n $(type -t module) || ! -r $stack_word ]] || source "$stack_word"
done
[[ -n $(type -t module) ]] || htc_refuse "there are no environment modules here: name their script with --option init=FILE"
# The session's own folders of modules, where there is no site's.
[[ -n $MODULEPATH ]] || export MODULEPATH=$htc_modulepath
module purge
[[ -z $htc_use ]] || module use "$htc_use"
read -r -a stack_words <<<"$htc_modules"
for stack_word in "${stack_words[@]}"; do
    module load "$stack_word" || htc_refuse "module load $stack_word failed"
done
