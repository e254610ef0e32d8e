# asetup AnalysisBase,25.2.15 (or ,latest)
asetup_words=$(echo "$*" | tr ',' ' ')
set -- $asetup_words
asetup_base=
for asetup_word in /cvmfs/atlas.cern.ch/repo/sw/software/*/$1/*/InstallArea/*; do
    case $asetup_word in
        */$1/$2/InstallArea/*) asetup_base=$asetup_word ;;
        */$1/$2*/InstallArea/*) [ "$3" != latest ] || asetup_base=$asetup_word ;;
    esac
    [ "$2" != latest ] || asetup_base=$asetup_word
done
if [ -z "$asetup_base" ]; then
    echo "AtlasSetup(FATAL): Release $1,$2 not found" 1>&2
    unset asetup_words asetup_word asetup_base
    return 1
fi
echo "Using $1/$2 [AtlasSetup] with platform ${asetup_base##*/}"
source $asetup_base/setup.sh
unset asetup_words asetup_word asetup_base
