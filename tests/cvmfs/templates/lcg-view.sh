# A view's setup.sh: finds itself by BASH_ARGV[0], so any argument to source breaks it; not for set -u; leaves IFS unset.
SOURCE=${BASH_ARGV[0]}
thisdir=$(cd "$(dirname "${SOURCE}")"; pwd)
if [ "$COMPILER" != "native" ]; then
    export FC=gfortran CC=gcc CXX=g++ COMPILER_PATH=/cvmfs/sft.cern.ch/lcg/contrib/gcc
fi
LCG_VERSION=@RELEASE@; export LCG_VERSION
PATH=${thisdir}/bin:${PATH}; export PATH
LD_LIBRARY_PATH=${thisdir}/lib64:${thisdir}/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}; export LD_LIBRARY_PATH
PYTHONPATH=${thisdir}/lib:${thisdir}/lib/python@PY@/site-packages${PYTHONPATH:+:$PYTHONPATH}; export PYTHONPATH
if [ -x $thisdir/bin/python3 ]; then
    PYTHONHOME=$(dirname $(dirname $thisdir/bin/python3)); export PYTHONHOME
fi
JUPYTER_PATH=${thisdir}/share/jupyter; export JUPYTER_PATH
CMAKE_PREFIX_PATH=${thisdir}${CMAKE_PREFIX_PATH:+:$CMAKE_PREFIX_PATH}; export CMAKE_PREFIX_PATH
ROOTSYS=${thisdir}; export ROOTSYS
ROOT_INCLUDE_PATH=${thisdir}/include; export ROOT_INCLUDE_PATH
IFS=:
for one in $(echo "G4NEUTRONHPDATA=/g4/ndl:G4LEDATA=/g4/emlow"); do export "$one"; done
unset IFS one
FONTCONFIG_PATH=/etc/fonts; export FONTCONFIG_PATH
GIT_EXEC_PATH=${thisdir}/libexec/git-core; export GIT_EXEC_PATH
QT_PLUGIN_PATH=${thisdir}/plugins; export QT_PLUGIN_PATH
