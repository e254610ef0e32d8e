export MODULEPATH=/cvmfs/oasis.opensciencegrid.org/osg/modules/modulefiles/Core
export LMOD_DEFAULT_MODULEPATH=$MODULEPATH
. /cvmfs/oasis.opensciencegrid.org/osg/sw/lmod/lmod/init/bash
