# Without a word more: the view would take it for its own path.
source "/cvmfs/sft.cern.ch/lcg/views/$htc_release/$htc_platform/setup.sh"
