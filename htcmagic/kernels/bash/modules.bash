if ! declare -F module >/dev/null; then
    for htc_word in "$LMOD_PKG/init/bash" "$MODULESHOME/init/bash" "${htc_module_homes[@]/%//init/bash}" /usr/share/lmod/lmod/init/bash \
        /usr/share/modules/init/bash /usr/share/Modules/init/bash /etc/profile.d/lmod.sh /etc/profile.d/modules.sh; do
        [[ ! -f $htc_word || ! -r $htc_word ]] || { source "$htc_word" && break; }
    done
    declare -F module >/dev/null || htc_refuse "there are no environment modules here: no Lmod, no environment-modules"
    [[ -n $MODULEPATH ]] || export MODULEPATH=$htc_modulepath
fi
[[ -z $htc_purge ]] || module purge
htc_module() {
    module load "$1" || htc_refuse "module load $1 failed"
}
