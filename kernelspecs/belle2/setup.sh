# Where there is no `python`, b2setup makes an alias for python3.
shopt -s expand_aliases
source /cvmfs/belle.cern.ch/tools/b2setup "$htc_release"
