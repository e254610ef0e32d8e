# Its aliases (lb-set-platform …) are part of it.
shopt -s expand_aliases
source /cvmfs/lhcb.cern.ch/lib/LbEnv
case $htc_release in
    [A-Z]*) htc_exec=(lb-run ${htc_platform:+-c "$htc_platform"} "$htc_release") ;;
    *)
        htc_mounted lhcbdev.cern.ch
        htc_exec=(lb-conda "${htc_release:-default}")
        ;;
esac
type -P "${htc_exec[0]}" >/dev/null || htc_refuse "LbEnv did not work: there is no ${htc_exec[0]} after it"
