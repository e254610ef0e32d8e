stack_base=/cvmfs/sw.lsst.eu/$htc_platform/lsst_distrib/$htc_release
# The extended environment has ipykernel; a word more would be taken for an environment's name.
if [[ -r $stack_base/loadLSST-ext.bash ]]; then source "$stack_base/loadLSST-ext.bash"; else source "$stack_base/loadLSST.bash"; fi
[[ -n $(type -t setup) ]] || htc_refuse "loadLSST.bash did not work: there is no setup after it"
setup "$htc_product"
stack_variable=${htc_product^^}
htc_markers=("SETUP_${stack_variable//[!A-Z0-9]/_}")
