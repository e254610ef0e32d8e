# ---- 3. At the end of the set-up, in its own process: is the result what it should be, and what did it change?
htc_report() {
    [[ -z $htc_signal ]] || { builtin printf 'done\n' >&"$htc_signal"; } 2>/dev/null
}
htc_refuse() {
    builtin printf 'htc_failed=%q\n' "$1" 1<>"$htc_state"
    htc_report
    builtin trap - EXIT
    builtin exit 1
}
htc_script() {
    [[ -f $1 && -r $1 ]] || htc_refuse "there is no script $1 that can be read"
}
# Not the set-up's business, whatever it does to them.
htc_foreign() {
    case $1 in
        BASH_ENV) return 1 ;;
        _ | IFS | SHLVL | PWD | OLDPWD | UID | EUID | PPID | BASH* | SHELLOPTS | POSIXLY_CORRECT | PS[0-9] | PROMPT_COMMAND | HIST* | JPY_* | HTCMAGIC_* | htc_*) return 0 ;;
    esac
    return 1
}
htc_remember() {
    local htc_name
    local -a htc_names
    declare -gA htc_before=()
    mapfile -t htc_names < <(compgen -e)
    for htc_name in "${htc_names[@]}"; do
        [[ -z ${!htc_name+x} ]] || htc_foreign "$htc_name" || htc_before[$htc_name]=${!htc_name}
    done
    htc_limits=$(umask && ulimit -Sa)
}
# Find python as htc_found; say what is wrong with it in htc_failed.
htc_locate() {
    local htc_where htc_root htc_real
    htc_failed=
    builtin eval "htc_where=$htc_python"
    htc_found=$(builtin type -P -- "$htc_where")
    if [[ -z $htc_found || ! -x $htc_found ]]; then
        htc_failed="there is no ${htc_where:-python}${1:+ $1}"
        return
    fi
    [[ $htc_found == /* ]] || htc_found=$PWD/$htc_found
    htc_places
    ((${#htc_under[@]})) || return
    htc_real=$(htc_plainly readlink -f -- "$htc_found")
    for htc_root in "${htc_under[@]}"; do
        [[ -z $htc_root || ($htc_found/ != "${htc_root%/}"/* && $htc_real/ != "${htc_root%/}"/*) ]] || return
    done
    htc_failed="the set-up did not work: ${htc_where##*/} is $htc_found, not one below ${htc_under[*]}"
}
# Whatever it has left behind: options, traps, functions in the place of commands.
htc_calm() {
    POSIXLY_CORRECT=${POSIXLY_CORRECT-none}
    \set +abefkmuvxCET +o pipefail
    \trap - DEBUG ERR RETURN EXIT
    \unset -f builtin
    builtin set +o posix
    builtin unset -v IFS POSIXLY_CORRECT 2>/dev/null
    builtin shopt -u nocasematch failglob extdebug
}
htc_emit() {
    htc_calm
    builtin unset -f : builtin command compgen declare eval exit export local mapfile printf read return set shopt trap type ulimit umask unset
    local htc_name htc_text='' htc_now
    local -a htc_names
    htc_now=$(umask && ulimit -Sa)
    umask 077
    for htc_name in "${htc_markers[@]}"; do
        [[ -n ${!htc_name} ]] || htc_refuse "the set-up did not work: $htc_name is not set after it"
    done
    htc_locate "after the set-up"
    [[ -z $htc_failed ]] || htc_refuse "$htc_failed"
    local -A htc_after=()
    mapfile -t htc_names < <(compgen -e)
    for htc_name in "${htc_names[@]}"; do
        htc_foreign "$htc_name" || [[ -z ${!htc_name+x} ]] || {
            htc_after[$htc_name]=1
            [[ ${htc_before[$htc_name]+x} && ${htc_before[$htc_name]} == "${!htc_name}" ]] || htc_assign "$htc_name" "${!htc_name}"
        }
    done
    for htc_name in "${!htc_before[@]}"; do
        [[ ${htc_after[$htc_name]} ]] || htc_text+="unset -v $htc_name"$'\n'
    done
    htc_limits_text
    printf -v htc_name 'htc_python=%q\n' "$htc_found"
    htc_text+=$htc_name
    [[ -z $htc_snapshot ]] || htc_keep_snapshot
    htc_functions
    printf '%shtc_complete=1\n' "$htc_text" 1<>"$htc_state"
    htc_report
    exit 0
}
htc_assign() {
    local htc_line
    printf -v htc_line 'export %s=%q\n' "$1" "$2"
    htc_text+=$htc_line
}
# The file mask and the soft limits are inherited like the environment; what differs is taken over.
htc_limits_text() {
    local htc_line htc_rest=$htc_limits
    [[ $htc_now != "$htc_limits" ]] || return 0
    htc_text+="htc_mask=${htc_now%%$'\n'*}"$'\n'
    while read -r htc_line; do
        [[ $'\n'$htc_rest$'\n' == *$'\n'"$htc_line"$'\n'* || ! $htc_line =~ [\ \(]-([a-z])\)\ +([a-z0-9]+)$ ]] ||
            htc_text+="ulimit -S -${BASH_REMATCH[1]} ${BASH_REMATCH[2]} 2>/dev/null"$'\n'
    done <<<"${htc_now#*$'\n'}"
}
# Exported functions, for shells that are started from the kernel; not those that hide the shell's own commands.
htc_functions() {
    local htc_name htc_line
    htc_exported
    ((${#htc_names[@]})) || return 0
    htc_text+=$(declare -f -- "${htc_names[@]}")$'\n'
    printf -v htc_line ' %q' "${htc_names[@]}"
    htc_text+="export -f$htc_line"$'\n'
}
htc_exported() {
    local htc_name htc_own
    htc_own=$'\n'$(compgen -b && compgen -k)$'\n'
    htc_names=()
    while read -r _ _ htc_name; do
        [[ $htc_name == htc_* || $htc_own == *$'\n'"$htc_name"$'\n'* ]] || htc_names+=("$htc_name")
    done < <(declare -Fx)
}
# Stacks that only run commands: let theirs run us, and look at what it gives.
htc_through_command() {
    local htc_status
    htc_calm
    htc_places
    umask 077
    {
        builtin declare -p htc_before htc_limits htc_markers htc_under
        [[ -z $htc_snapshot ]] || builtin declare -p htc_print htc_first_path htc_tmp htc_run htc_began
    } >|"$htc_state.before"
    umask "${htc_limits%%$'\n'*}"
    "${htc_exec[@]}" /bin/bash "$htc_self" --htcmagic-emit "$htc_state"
    htc_status=$?
    htc_plainly rm -f -- "$htc_state.before"
    while builtin read -r htc_word; do
        [[ $htc_word != htc_complete=1 && $htc_word != htc_failed=* ]] || { htc_report && builtin exit 0; }
    done <"$htc_state"
    htc_refuse "the stack's command ${htc_exec[0]} failed with exit status $htc_status"
}
