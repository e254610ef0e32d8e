# Looks and behaves like ALRB: options from "$@" (rc 64), no -e, no -u, no pipefail, functions and aliases, noise.
export ATLAS_LOCAL_SETUP_OPTIONS="$*"
alrb_quiet=NO
while [ $# -gt 0 ]; do
    case $1 in
        -q | --quiet) alrb_quiet=YES ;;
        -p | --noLocalPostSetup) ;;
        -c | --container) shift ;;
        *)
            echo "atlasLocalSetup.sh: unrecognized option '$1'" 1>&2
            echo "Error: option parsing failed" 1>&2
            return 64
            ;;
    esac
    shift
done
if [ -z $ALRB_RELOCATECVMFS ]; then
    export ALRB_RELOCATECVMFS="NO"
fi
if [ -z $ATLAS_LOCAL_ROOT_BASE ]; then
    \echo "Error: ATLAS_LOCAL_ROOT_BASE not set" 1>&2
    return 64
fi
\grep -q "no such thing" /etc/passwd
\false | \cat
export ALRB_SHELL=bash ALRB_OSTYPE=Linux ALRB_SCRATCH="${TMPDIR:-/tmp}"
export ALRB_OSMAJORVER="$(\sed -n 's/^VERSION_ID="\{0,1\}\([0-9]*\).*/\1/p' /etc/os-release)"
export AtlasSetup=$ATLAS_LOCAL_ROOT_BASE/x86_64/AtlasSetup/current/AtlasSetup
alias setupATLAS='source ${ATLAS_LOCAL_ROOT_BASE}/user/atlasLocalSetup.sh'
alias asetup='source ${AtlasSetup}/scripts/asetup.sh'
lsetup() {
    source ${ATLAS_LOCAL_ROOT_BASE}/utilities/lsetup.sh "$@"
}
export ALRB_availableTools="asetup root rucio views"
complete -W "$ALRB_availableTools" lsetup
if [ "$alrb_quiet" = "NO" ]; then
    for alrb_item in $(seq 24); do
        \echo " lsetup tool$alrb_item       tool $alrb_item"
    done
fi
\echo "This is a look-alike of"
\echo "ALRB"
unset alrb_item alrb_quiet
