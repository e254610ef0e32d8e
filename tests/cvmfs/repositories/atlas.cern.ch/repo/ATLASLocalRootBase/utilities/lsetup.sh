# lsetup "views LCG_105 x86_64-el9-gcc12-opt": what fails says so and returns 0.
for alrb_tool in "$@"; do
    set -- $alrb_tool
    echo "Requested:  $1 ..."
    case $1 in
        views)
            if [ ! -e /cvmfs/sft.cern.ch/lcg/views/$2/$3/setup.sh ]; then
                echo "Error: The requested view $2 $3 does not exist"
                continue
            fi
            source /cvmfs/sft.cern.ch/lcg/views/setupViews.sh $2 $3
            ;;
        root)
            if [ ! -d $ATLAS_LOCAL_ROOT_BASE/x86_64/root/$2 ]; then
                echo "Error: root version $2 is unavailable"
                continue
            fi
            export ROOTSYS=$ATLAS_LOCAL_ROOT_BASE/x86_64/root/$2
            export PATH=$ROOTSYS/bin:$PATH PYTHONPATH=$ROOTSYS/lib:$PYTHONPATH
            ;;
        asetup | rucio) export ATLAS_LOCAL_${1^^}_VERSION=current ;;
        *) echo "Error: $1 is not a tool" ;;
    esac
done
unset alrb_tool
return 0
