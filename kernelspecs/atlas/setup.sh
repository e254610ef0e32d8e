export ATLAS_LOCAL_ROOT_BASE=/cvmfs/atlas.cern.ch/repo/ATLASLocalRootBase
source "$ATLAS_LOCAL_ROOT_BASE/user/atlasLocalSetup.sh" --quiet
# Whatever it returns: when it has not worked there is no lsetup.
[[ -n $(type -t lsetup) ]] || htc_refuse "ATLASLocalRootBase did not work: there is no lsetup after it"
htc_markers=(ATLAS_LOCAL_ROOT_BASE)
case $htc_release in
    '' | none) ;;
    LCG_*)
        htc_mounted sft.cern.ch
        htc_entry "/cvmfs/sft.cern.ch/lcg/views/$htc_release/$htc_platform/setup.sh"
        # What lsetup views does. Without a word more: the view would take it for its own path.
        source "/cvmfs/sft.cern.ch/lcg/views/$htc_release/$htc_platform/setup.sh"
        htc_markers=(LCG_VERSION) htc_under=(/cvmfs/sft.cern.ch/)
        ;;
    root | root\ *)
        lsetup "$htc_release"
        htc_markers=(ROOTSYS)
        ;;
    *\ *)
        lsetup "$htc_release"
        ;;
    *)
        # asetup is a function in some versions, an alias (none here, in a script) in others, and first needs lsetup in some.
        if [[ $(type -t asetup) == function ]]; then
            asetup "$htc_release"
        elif [[ -n $AtlasSetup && -r $AtlasSetup/scripts/asetup.sh ]]; then
            source "$AtlasSetup/scripts/asetup.sh" "$htc_release"
        else
            lsetup "asetup $htc_release"
        fi
        htc_markers=(AtlasProject) htc_under=(/cvmfs/)
        ;;
esac
IFS=, read -r -a stack_words <<<"$htc_tools"
[[ ${#stack_words[@]} == 0 ]] || lsetup "${stack_words[@]}"
# So that !lsetup works in a cell: what it calls comes along.
for stack_word in lsetup asetup appendPath insertPath deletePath; do
    [[ $(type -t "$stack_word") != function ]] || declare -fx "$stack_word"
done
