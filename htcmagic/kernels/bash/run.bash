# ---- 4. Around the set-up: it runs in a process of its own, so that whatever it does cannot take the kernel with it.
# Before the set-up's text: start it in another process, and become the kernel with what it gives. That process returns.
htc_main() {
    htc_modulepath=$MODULEPATH htc_module_homes=("$LMOD_PKG" "$MODULESHOME")
    case $htc_mode in
        setup)
            htc_state=${htc_args[1]} htc_signal=${htc_args[2]}
            htc_scrub
            [[ -z $htc_snapshot ]] || htc_forget
            htc_remember
            return
            ;;
        emit)
            htc_state=${htc_args[1]}
            source "$htc_state.before"
            htc_emit
            ;;
    esac
    if [[ -z $htc_has_setup ]]; then
        htc_scrub
        htc_locate
        [[ -z $htc_failed ]] || htc_diagnose "$htc_failed"
        htc_python=$htc_found
        htc_keep_log
    elif [[ -n $htc_snapshot ]] && htc_replay; then
        htc_keep_log
    else
        htc_set_up
    fi
    [[ $htc_mode != refresh ]] || htc_refreshed
    htc_finish
    htc_become
}
htc_set_up() {
    htc_open_log
    [[ -d $XDG_RUNTIME_DIR && -O $XDG_RUNTIME_DIR ]] && htc_word=$XDG_RUNTIME_DIR || htc_word=
    # Room for most environments is taken at once; the result is written over it.
    htc_new_file 32768 "$htc_word" "$htc_home/logs" "${TMPDIR:-/tmp}" /tmp /dev/shm ||
        htc_diagnose "nothing can be written to: neither $htc_home/logs nor ${TMPDIR:-/tmp} nor /tmp; are the disks full?"
    htc_state=$htc_file
    exec {htc_signal}<> <(:)
    trap : INT
    [[ $htc_mode == kernel ]] || trap 'htc_quit 130' INT
    trap 'htc_quit 143' TERM HUP
    /bin/bash "$htc_self" --htcmagic-setup "$htc_state" "$htc_signal" </dev/null >>"$htc_log" 2>&1 &
    htc_child=$!
    htc_scrub
    htc_wait
    exec {htc_signal}>&-
    trap - TERM HUP
    htc_show_log
    eval "$htc_text"
    unset -v htc_text
    [[ -n $htc_failed || -n $htc_complete ]] || htc_failed="the set-up's result could not be kept: is the disk full?"
    htc_keep_log "$htc_state"
    [[ -z $htc_failed ]] || htc_diagnose "$htc_failed"
}
htc_refreshed() {
    [[ -n $htc_snapshot ]] || htc_diagnose "it was not made with --snapshot"
    [[ -n $htc_kept_as ]] || htc_diagnose "its environment could not be kept in $htc_home/snapshots"
    printf '%s\n' "$htc_kept_as"
    exit 0
}
htc_quit() {
    trap '' INT TERM HUP
    htc_end "$htc_child"
    htc_failed=ended
    htc_keep_log "$htc_state" "$htc_state.before"
    exit "$1"
}
# Wait until the set-up has ended; its result is left in htc_text, or what went wrong in htc_failed.
htc_wait() {
    local htc_word htc_status=0 htc_limit=$((SECONDS + htc_timeout_s))
    htc_failed='' htc_text=
    while ! read -r -t 0.25 -u "$htc_signal" htc_word; do
        if htc_parent_gone; then
            htc_quit 1
        elif ! kill -0 "$htc_child" 2>/dev/null; then
            break
        elif ((SECONDS >= htc_limit)); then
            htc_failed="the set-up did not end within $htc_timeout_s s"
            htc_end "$htc_child"
            return
        fi
    done
    # It has nothing left to do; python would find it as a child that it does not know.
    while
        wait "$htc_child"
        htc_status=$?
        kill -0 "$htc_child" 2>/dev/null
    do :; done
    htc_text=$(<"$htc_state")
    [[ $htc_text != htc_failed=* ]] || htc_text=${htc_text%%$'\n'*}
    [[ $htc_text == *htc_* ]] ||
        htc_failed="the set-up ended early, with exit status $htc_status (does it call exit or exec, or set -e?)"
}
# What it said goes to stderr; not so much that nobody reads it, and we wait for ever.
htc_show_log() {
    htc_has_log || return 0
    { read -r _ && command -p tail -c 16384; } <"$htc_log" >&2
}
htc_does_not_start() {
    [[ $1 != *"Argument list too long" ]] || htc_diagnose "the set-up's variables are too large for any program to start with"
    htc_diagnose "$htc_python does not start: $1"
}
htc_become() {
    local htc_said
    umask "$htc_mask"
    export HTCMAGIC_KERNEL=$htc_kernel HTCMAGIC_KERNEL_DIR=$htc_folder
    shopt -s execfail
    case $htc_mode in
        run)
            trap - INT
            export HTCMAGIC_PYTHON=$htc_python
            exec -- "${htc_args[@]}"
            htc_diagnose "${htc_args[0]:-nothing} cannot be run"
            ;;
        python)
            trap - INT
            exec -- "$htc_python" "${htc_args[@]}"
            ;;
        kernel)
            # Not interrupted before it can take an interrupt; ipykernel sees to that itself, later.
            trap '' INT
            htc_said=$("$htc_python" -S -c '' 2>&1 </dev/null) || htc_does_not_start "${htc_said##*$'\n'}"
            if htc_parent_gone; then exit 1; fi
            [[ $JPY_PARENT_PID != "$PPID" ]] || export HTCMAGIC_PARENT=$PPID
            [[ -z $HTCMAGIC_LOG ]] || HTCMAGIC_LOG=$htc_log
            export HTCMAGIC_LAUNCHER=$htc_launcher
            exec -- "$htc_python" -c "$htc_launch" "${htc_args[@]}"
            ;;
    esac
    htc_diagnose "$htc_python cannot be run"
}
