#! /bin/bash
# Options from "$@", `exit` for those it does not know; puts . on PATH, replaces PATH.
ulimit -c 0
opt_a=0
opt_n=0
opt_v="new"
this_script=`readlink -f $BASH_SOURCE`
for arg in "$@"
do
    case "$arg" in
    -a) opt_a=1 ;;
    -n) opt_n=1 ;;
    -b*) force_base=${arg#-b} ;;
    -*)
        echo "usage source sphenix_setup.csh [-a] [-b[base dir]] [-n] [-h] [version]"
        exit 0
        ;;
    *) opt_v=$arg ;;
    esac
done
unset FC CC CXX COMPILER_PATH
if [ $opt_n != 0 ]
then
    unset OFFLINE_MAIN ONLINE_MAIN ${!OPT_*} ${!G4*} PYTHONPATH ROOTSYS
fi
if [ -z $ORIG_PATH ]
then
    export ORIG_PATH=$PATH
fi
export OPT_SPHENIX=`dirname $(dirname $this_script)`
export OPT_UTILS=$OPT_SPHENIX/utils
release_base=${OPT_SPHENIX%/opt/sphenix/core}/release
if [ -z "$OFFLINE_MAIN" ]
then
    export OFFLINE_MAIN=$release_base/release_${opt_v%%.*}/$opt_v
fi
if [ ! -d $OFFLINE_MAIN ]
then
    echo "$OFFLINE_MAIN does not exist"
    unset OFFLINE_MAIN
fi
export ROOTSYS=$OPT_SPHENIX/root
path=.:$OFFLINE_MAIN/bin:$OPT_SPHENIX/bin:/usr/local/bin:/usr/bin:/usr/local/sbin:/usr/sbin:/bin
export PATH=$path LD_LIBRARY_PATH=.:$OFFLINE_MAIN/lib:$OPT_SPHENIX/lib MANPATH=$OFFLINE_MAIN/man
export PYTHONPATH=$OFFLINE_MAIN/python${PYTHONPATH:+:$PYTHONPATH}
