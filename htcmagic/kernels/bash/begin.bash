# ---- 2. Where we are, what is wanted, and how to say that it failed.
htc_self=${BASH_SOURCE[0]}
[[ $htc_self == /* ]] || htc_self=$PWD/$htc_self
htc_folder=${htc_self%/*}
[[ $HTCMAGIC_INSIDE == "$htc_folder" ]] || unset -v HTCMAGIC_INSIDE # that of another kernel, which this one is started from
htc_home=${HTCMAGIC_HOME:-${XDG_DATA_HOME:-${HOME:-/nonexistent}/.local/share}/htcmagic}
htc_path=$PATH
htc_mode=kernel
case ${htc_args[0]} in
    --run | --python) htc_mode=${htc_args[0]#--} htc_args=("${htc_args[@]:1}") ;;
    --refresh | --htcmagic-setup | --htcmagic-emit) htc_mode=${htc_args[0]##*-} ;;
esac
htc_connection=
for htc_word in "${htc_args[@]}"; do
    [[ $htc_mode == kernel && $htc_word == *.json ]] && htc_connection=${htc_word#-*=}
done
[[ -z $htc_connection || $htc_connection == /* ]] || htc_connection=$PWD/$htc_connection

# One of the system's own programs, whatever the set-up has put before them.
htc_plainly() {
    LD_LIBRARY_PATH='' LD_PRELOAD='' builtin command -p "$@"
}
# A process is gone when it is a zombie, too: whoever ought to look after it may not.
htc_gone() {
    local htc_stat=
    [[ -r /proc/self/stat ]] || { ! kill -0 "$1" 2>/dev/null && return; }
    { read -r htc_stat <"/proc/$1/stat"; } 2>/dev/null
    htc_stat=${htc_stat##*) }
    [[ -z $htc_stat || $htc_stat == [ZX]* ]]
}
# Is the Jupyter that wants this kernel no more? Whoever adopts its orphans is not it.
htc_parent_gone() {
    local htc_stat
    [[ $htc_mode == kernel && -n $JPY_PARENT_PID && $JPY_PARENT_PID != [01] ]] || return 1
    if [[ $JPY_PARENT_PID == "$PPID" ]]; then
        { read -r htc_stat <"/proc/$$/stat"; } 2>/dev/null || return 1
        htc_stat=(${htc_stat##*) })
        [[ ${htc_stat[1]} != "$PPID" ]]
    else
        htc_gone "$JPY_PARENT_PID"
    fi
}
# Say something on stderr, wherever that leads.
htc_say() {
    trap '' PIPE
    printf 'htcmagic: kernel %s: %s\n' "$htc_kernel" "$1" >&2
    trap - PIPE
}
# Say what failed: as a kernel whose first output tells it, or, where no kernel was asked for, with exit status 97.
htc_diagnose() {
    local htc_reason=$1 htc_one htc_found=
    local -a htc_server=()
    htc_say "$htc_reason"
    if [[ $htc_mode != kernel || -n $HTCMAGIC_INSIDE ]]; then
        [[ -z $HTCMAGIC_INSIDE || ! -w $htc_log ]] || printf 'htcmagic: %s\n' "$htc_reason" >>"$htc_log"
        exit 97
    fi
    trap '' INT
    if [[ -n $JPY_PARENT_PID && -r /proc/$JPY_PARENT_PID/cmdline ]]; then
        while IFS= read -r -d '' htc_one; do htc_server+=("$htc_one"); done <"/proc/$JPY_PARENT_PID/cmdline"
        htc_one=${htc_server[0]}
        [[ $htc_one != */* || $htc_one == /* ]] || htc_one=$(htc_plainly readlink "/proc/$JPY_PARENT_PID/cwd")/$htc_one
        htc_server=("$(PATH=$htc_path type -P -- "$htc_one")")
    fi
    # The set-up's variables could mislead this python as well, and may be too many for any program.
    while read -r htc_one; do
        case $htc_one in
            HOME | USER | LOGNAME | LANG | LC_* | TZ | TMPDIR | XDG_* | JPY_PARENT_PID | JUPYTER_RUNTIME_DIR | IPYTHONDIR) ;;
            *) unset -v "$htc_one" 2>/dev/null || export -n "${htc_one?}" ;;
        esac
    done < <(compgen -e)
    export PATH=$htc_path LANG=${LANG:-C.UTF-8}
    for htc_one in "$htc_creator" "${htc_server[0]}" /usr/bin/python3; do
        [[ $htc_one == /* && -x $htc_one ]] || continue
        (cd / && "$htc_one" -c 'import ipykernel') </dev/null >/dev/null 2>&1 && htc_found=$htc_one && break
    done
    if [[ -z $htc_found ]]; then
        htc_say "no python with ipykernel is left to tell the notebook"
        exit 1
    fi
    if htc_parent_gone; then exit 1; fi
    exec "$htc_found" "$htc_folder/diagnose.py" "$htc_kernel" "$htc_reason" "$htc_log" "${htc_args[@]}"
}

# Make a new file of our own, as large as $1 bytes, in the first folder of those given that takes it; its name is in htc_file.
# Nothing is cut off again: that would have some file systems write it out at once.
htc_new_file() {
    local htc_base htc_size=$1
    shift
    umask 077
    set -C
    for htc_base; do
        htc_file=$htc_base/htcmagic.$htc_kernel.$$.$RANDOM$RANDOM
        if [[ $htc_base == /* && -d $htc_base && -w $htc_base ]] && { : >"$htc_file"; } 2>/dev/null; then
            { printf "%${htc_size}s" $'\n' >>"$htc_file"; } 2>/dev/null && break
            command -p rm -f -- "$htc_file"
        fi
        htc_file=
    done
    set +C
    umask "$htc_mask"
    [[ -n $htc_file ]]
}
# A log of each start, below an empty line; the last one of a kernel is kept as NAME.log.
htc_open_log() {
    if [[ $htc_log != /dev/null ]]; then
        return
    elif [[ -n $HTCMAGIC_INSIDE && -n $HTCMAGIC_LOG && -w $HTCMAGIC_LOG ]]; then
        htc_log=$HTCMAGIC_LOG
    else
        [[ -d $htc_home/logs ]] || (umask 077 && command -p mkdir -p -- "$htc_home/logs") 2>/dev/null
        htc_new_file 1 "$htc_home/logs" "${TMPDIR:-/tmp}" /tmp /dev/shm
        htc_log=${htc_file:-/dev/null}
    fi
}
htc_has_log() {
    local htc_line=
    [[ -f $htc_log ]] && { read -r _ && { read -r htc_line || [[ -n $htc_line ]]; }; } <"$htc_log"
}
# Keep the log, if it says something or something failed; and remove the files named.
htc_keep_log() {
    local htc_kept=$htc_home/logs/$htc_kernel.log
    if [[ $htc_log == "$htc_home/logs"/* ]] && { [[ -n $htc_failed ]] || htc_has_log; }; then
        htc_plainly mv -f -- "$htc_log" "$htc_kept" 2>/dev/null && htc_log=$htc_kept
    elif [[ -z $htc_failed && -f $htc_log ]]; then
        set -- "$@" "$htc_log"
        [[ ! -f $htc_kept ]] || set -- "$@" "$htc_kept"
    fi
    [[ $# == 0 ]] || htc_plainly rm -f -- "$@"
}
# Find in htc_pids what $1 has started, and where we lead our process group, whatever else is in it.
htc_others() {
    local htc_stat htc_pid htc_more=1
    local -A htc_known=() htc_ours=(["$1"]=1)
    htc_pids=()
    for htc_pid in /proc/[0-9]*; do
        htc_pid=${htc_pid##*/}
        { read -r htc_stat <"/proc/$htc_pid/stat"; } 2>/dev/null || continue
        htc_stat=(${htc_stat##*) }) # its state, its parent, its group
        [[ $htc_pid != "$$" && $htc_pid != "$BASHPID" && ${htc_stat[0]} != [ZX] ]] || continue
        htc_known[$htc_pid]=${htc_stat[1]}
        [[ ${htc_stat[2]} != "$$" ]] || htc_ours[$htc_pid]=1
    done
    while [[ -n $htc_more ]]; do
        htc_more=
        for htc_pid in "${!htc_known[@]}"; do
            [[ -n ${htc_ours[$htc_pid]} || -z ${htc_ours[${htc_known[$htc_pid]}]} ]] || htc_ours[$htc_pid]=1 htc_more=1
        done
    done
    for htc_pid in "${!htc_ours[@]}"; do
        [[ -z ${htc_known[$htc_pid]} ]] || htc_pids+=("$htc_pid")
    done
}
# End the set-up's process $1 and all that it has started: asked first, made to soon after.
htc_end() {
    local htc_try
    for htc_try in TERM 0 0 0 0 0 KILL; do
        htc_others "$1"
        ((${#htc_pids[@]})) || break
        [[ $htc_try == 0 ]] || kill "-$htc_try" "${htc_pids[@]}" 2>/dev/null
        command -p sleep 0.1
    done
}
htc_begin() {
    htc_log=/dev/null htc_reason=$HTCMAGIC_FAILED
    unset -v HTCMAGIC_FAILED
    if [[ -n $htc_reason ]]; then
        [[ -z $htc_has_setup && -z $htc_image ]] || htc_log=$htc_home/logs/$htc_kernel.log
        htc_diagnose "$htc_reason"
    elif [[ -n $htc_image && $htc_mode != setup && $htc_mode != emit ]]; then
        htc_open_log
    fi
}
