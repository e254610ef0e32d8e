source /cvmfs/dune.opensciencegrid.org/products/dune/setup_dune.sh
[[ -n $(type -t setup) ]] || htc_refuse "setup_dune.sh did not work: there is no setup after it"
setup "$htc_product" "$htc_release" ${htc_qualifiers:+-q "$htc_qualifiers"}
stack_variable=${htc_product^^}
htc_markers=("SETUP_${stack_variable//[!A-Z0-9]/_}")
