# setupViews.sh LCG_105 x86_64-el9-gcc12-opt
if [ $# -ne 2 ]; then
    echo "ERROR: setupViews.sh needs a view and a platform" 1>&2
    return 1
fi
if [ ! -e /cvmfs/sft.cern.ch/lcg/views/$1/$2/setup.sh ]; then
    echo "ERROR: no such view $1 $2" 1>&2
    return 1
fi
lcg_view=/cvmfs/sft.cern.ch/lcg/views/$1/$2
set --
source $lcg_view/setup.sh
unset lcg_view
