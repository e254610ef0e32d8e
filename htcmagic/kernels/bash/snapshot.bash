# ---- Snapshots: the set-up runs in an environment that does not depend on the session; what it changes is kept in a file,
# and replayed as long as nothing that it came from has changed.
htc_replay() {
    local htc_line htc_place htc_fresh=
    htc_file=$htc_home/snapshots/$htc_snapshot.sh
    [[ $htc_mode != refresh && -f $htc_file && -O $htc_file && -r $htc_file ]] || return 1
    { IFS= read -r htc_line && IFS= read -r htc_place && IFS= read -r htc_fresh; } <"$htc_file"
    htc_watched
    eval "htc_files=(${htc_place#\# })"
    if htc_fingerprint && [[ $htc_line == "# $htc_print" && -x ${htc_fresh#\# } ]]; then
        htc_scrub
        source "$htc_file"
        [[ -z $htc_complete ]] || return 0
    fi
    htc_say "its snapshot is out of date: the set-up runs, and is kept anew"
    return 1
}
# What a snapshot depends on, as one line in htc_print; fails where it cannot be told.
htc_fingerprint() {
    local htc_line htc_now
    local -a htc_plain_files=() htc_limit=()
    htc_now="1 $HOSTTYPE $UID $HOME $htc_depends"
    while read -r htc_line; do
        [[ $htc_line != ID=* && $htc_line != VERSION_ID=* ]] || htc_now+=" $htc_line"
    done 2>/dev/null </etc/os-release
    # A stack may be chosen for the processor, and the home folder be the same on many machines.
    while read -r htc_line; do
        [[ $htc_line != flags* && $htc_line != Features* ]] || { htc_now+=" $htc_line" && break; }
    done 2>/dev/null </proc/cpuinfo
    htc_revisions || return 1
    htc_now+=" $htc_revision"
    for htc_line in "${htc_files[@]}"; do
        [[ -n $htc_revision && $htc_line == /cvmfs/* ]] || htc_plain_files+=("$htc_line")
    done
    if ((${#htc_plain_files[@]})); then
        # Only there something may never answer; and it is one process more.
        [[ "${htc_plain_files[*]}" != *\ /cvmfs/* && ${htc_plain_files[0]} != /cvmfs/* ]] || htc_limit=(timeout -k 1 10)
        htc_now+=$'\n'$(htc_plainly "${htc_limit[@]}" stat -L -c '%n %s %.9Y %.9Z' -- "${htc_plain_files[@]}" 2>/dev/null)
        [[ $htc_now != *$'\n' ]] || return 1
    fi
    printf -v htc_print %q "$htc_now"
}
# The revisions of the stack's repositories, in htc_revision: a change in any of them is one in the stack.
htc_revisions() {
    local htc_count
    htc_revision=
    ((${#htc_repositories[@]})) || return 0
    if builtin command -pv getfattr >/dev/null; then
        htc_revision=$(htc_plainly timeout -k 1 5 getfattr --absolute-names -n user.revision -- "${htc_repositories[@]}" 2>/dev/null)
    elif builtin command -pv attr >/dev/null; then
        htc_revision=$(htc_plainly timeout -k 1 5 attr -qg revision "${htc_repositories[0]}" 2>/dev/null)
    fi
    case $? in 124 | 137) return 1 ;; esac # no answer in time
    htc_count=${htc_revision//[^=]/}
    [[ $htc_revision != *=* || ${#htc_count} == "${#htc_repositories[@]}" ]] || htc_revision=
}
# Before the set-up: nothing of the session but who and where the user is.
htc_forget() {
    local htc_name htc_tmpdir=$TMPDIR htc_runtime_dir=$XDG_RUNTIME_DIR
    local -a htc_names
    htc_began=$htc_state
    mapfile -t htc_names < <(compgen -e)
    for htc_name in "${htc_names[@]}"; do
        case $htc_name in
            HOME | USER | LOGNAME | SHELL | LANG | LC_* | TZ | TERM | PATH | *_proxy | *_PROXY | HTCMAGIC_*) continue ;;
            MODULE* | LMOD_* | APPTAINER_* | SINGULARITY_* | X509_CERT_DIR) continue ;;
        esac
        # An image's own variables are no session's.
        if [[ -z $HTCMAGIC_INSIDE ]] || htc_of_session "$htc_name"; then unset -v "$htc_name" 2>/dev/null; fi
    done
    [[ -n $HTCMAGIC_INSIDE ]] || PATH=/usr/local/bin:/usr/bin:/bin
    htc_first_path=$PATH
    # Told from any other folder by their ends, so that what lies below them is found again in the result.
    export TMPDIR=${htc_tmpdir:-/tmp}/./.
    htc_tmp=$TMPDIR htc_run=
    [[ ! -d $htc_runtime_dir ]] || export XDG_RUNTIME_DIR=$htc_runtime_dir/./. htc_run=$htc_runtime_dir/./.
    cd -- "$HOME" 2>/dev/null || cd /
    htc_files=()
    htc_watched
    htc_fingerprint || htc_print=
}
# Never kept: what belongs to a session, or opens doors.
htc_of_session() {
    case ${1^^} in
        XDG_DATA_DIRS | XDG_CONFIG_DIRS) return 1 ;;
        KRB5CCNAME | X509_USER_* | BEARER* | *TOKEN* | *PASSWORD* | *PASSWD* | *PASSPHRASE* | *SECRET* | *CREDENTIAL* | *API_KEY* | AWS_*) return 0 ;;
        SSH_* | GPG_* | JPY_* | JUPYTERHUB_* | DISPLAY | WAYLAND_DISPLAY | XAUTHORITY | XDG_* | DBUS_* | _CONDOR_* | CONDOR_CONFIG) return 0 ;;
        TMPDIR | HOME | TERM | HOSTNAME) return 0 ;;
    esac
    return 1
}
# One start's own: its process id, a folder that it has made.
htc_of_this_start() {
    if [[ -n $htc_tmp && $1 == "$htc_tmp"/* && -e $1 && $1 -nt $htc_began ]]; then return 0; fi
    (($$ >= 1000)) && [[ " $1 " =~ [^0-9]$$[^0-9] && $(<"$htc_self") != *"$$"* ]]
}
# Quote $1 in htc_quoted, with the session's folders as variables.
htc_template() {
    local htc_rest=$1 htc_part htc_one
    htc_quoted=
    while [[ -n $htc_tmp && $htc_rest == *"$htc_tmp"* || -n $htc_run && $htc_rest == *"$htc_run"* ]]; do
        htc_one=$htc_tmp
        [[ -z $htc_run || $htc_rest != *"$htc_run"* || ${htc_rest%%"$htc_tmp"*} == *"$htc_run"* ]] && htc_one=$htc_run
        [[ -n $htc_one && $htc_rest == *"$htc_one"* ]] || htc_one=$htc_tmp
        printf -v htc_part %q "${htc_rest%%"$htc_one"*}"
        [[ $htc_part == "''" ]] || htc_quoted+=$htc_part
        if [[ $htc_one == "$htc_tmp" ]]; then htc_quoted+='"${TMPDIR:-/tmp}"'; else htc_quoted+='"${XDG_RUNTIME_DIR:-/tmp}"'; fi
        htc_rest=${htc_rest#*"$htc_one"}
    done
    printf -v htc_part %q "$htc_rest"
    [[ $htc_part == "''" && -n $htc_quoted ]] || htc_quoted+=$htc_part
}
htc_assign() {
    local htc_line htc_quoted htc_after
    if [[ $1 == PATH && :$2: == *":$htc_first_path:"* ]]; then
        htc_after=:$2:
        htc_template "${htc_after#*":$htc_first_path:"}"
        htc_line=$htc_quoted
        htc_template "${htc_after%%":$htc_first_path:"*}"
        htc_after=${htc_line%:} htc_line=${htc_quoted#:}
        [[ $htc_line == "''" ]] && htc_line=
        [[ $htc_after == "''" ]] && htc_after=
        htc_line="export PATH=${htc_line:+$htc_line:}\"\$PATH\"${htc_after:+:$htc_after}"$'\n'
    else
        htc_template "$2"
        htc_line="export $1=$htc_quoted"$'\n'
        # Said by a set-up only where the session does not.
        [[ $1 != USER && $1 != LOGNAME ]] || htc_line="[[ -n \$$1 ]] || $htc_line"
    fi
    htc_text+=$htc_line
    if htc_of_session "$1" || htc_of_this_start "$2"; then htc_dropped+=("$htc_line"); fi
}
# After the set-up: keep what it has changed, whole or not at all. The caller goes on with everything, credentials too.
htc_keep_snapshot() {
    local htc_kept=$htc_text htc_line htc_first=$htc_print htc_shelf=$htc_home/snapshots
    local -a htc_names=()
    htc_files=()
    htc_watched
    [[ -n $htc_print ]] && htc_fingerprint && [[ $htc_print == "$htc_first" ]] || return 0
    htc_loaded
    htc_fingerprint || return 0
    for htc_line in "${htc_dropped[@]}"; do
        htc_kept=${htc_kept/"$htc_line"/}
    done
    [[ -d $htc_shelf ]] || htc_plainly mkdir -p -- "$htc_shelf" 2>/dev/null
    htc_exported
    if ((${#htc_names[@]})); then
        htc_store "$htc_shelf/$htc_snapshot.functions.sh" "$(htc_all_functions)"$'\n' || return 0
        for htc_line in "${htc_names[@]}"; do
            printf -v htc_line '%q() { source %q && %q "$@"; }\nexport -f %q\n' \
                "$htc_line" "$htc_shelf/$htc_snapshot.functions.sh" "$htc_line" "$htc_line"
            htc_kept+=$htc_line
        done
    fi
    htc_line=
    ((${#htc_files[@]} == 0)) || printf -v htc_line ' %q' "${htc_files[@]}"
    htc_kept="# $htc_print"$'\n'"#$htc_line"$'\n'"# $htc_found"$'\n'$htc_kept$'htc_complete=1\n'
    htc_store "$htc_shelf/$htc_snapshot.sh" "$htc_kept" || return 0
    printf -v htc_line 'htc_kept_as=%q\n' "$htc_shelf/$htc_snapshot.sh"
    htc_text+=$htc_line
    htc_forget_older
}
# The files of the modules that are loaded: a change of theirs counts as well.
htc_loaded() {
    local htc_one
    local -a htc_some
    IFS=: read -r -a htc_some <<<"$_LMFILES_"
    for htc_one in "${htc_some[@]}"; do
        [[ $htc_one != /* || ! -f $htc_one ]] || htc_files+=("$htc_one")
    done
}
htc_all_functions() {
    local htc_name
    while read -r _ _ htc_name; do
        [[ $htc_name == htc_* || $htc_own == *$'\n'"$htc_name"$'\n'* ]] || declare -f -- "$htc_name"
    done < <(declare -F)
}
htc_store() {
    local htc_new=${1%/*}/.${1##*/}.$BASHPID
    printf %s "$2" 2>/dev/null >"$htc_new" && htc_plainly mv -f -- "$htc_new" "$1" && return
    htc_plainly rm -f -- "$htc_new"
    return 1
}
htc_forget_older() {
    local htc_one htc_rest
    for htc_one in "$htc_shelf/$htc_kernel"-*.sh "$htc_shelf/.$htc_kernel"-*; do
        htc_rest=${htc_one##*/}
        htc_rest=${htc_rest#."$htc_kernel"-}
        htc_rest=${htc_rest#"$htc_kernel"-}
        [[ $htc_rest =~ ^[0-9a-f]{12}(\.functions)?\.sh ]] || continue
        case ${htc_one##*/} in
            "$htc_snapshot".*) continue ;;
            .*) [[ $htc_one -ot $htc_began ]] || continue ;;
        esac
        htc_plainly rm -f -- "$htc_one"
    done
}
