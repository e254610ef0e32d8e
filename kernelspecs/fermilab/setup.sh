source "$htc_setups"
[[ -n $(type -t setup) ]] || htc_refuse "$htc_setups did not work: there is no setup after it"
setup "$htc_product" ${htc_release:+"$htc_release"} ${htc_qualifiers:+-q "$htc_qualifiers"}
stack_variable=${htc_product^^}
htc_markers=("SETUP_${stack_variable//[!A-Z0-9]/_}")
