# ---- Outside the image: start it, stay beside it as its parent, end it when Jupyter ends.
# The runtime's program; the recorded one is not asked for its version again.
htc_find_runtime() {
    local one found said
    for one in "$HTCMAGIC_APPTAINER" "$htc_runtime" apptainer singularity "${HTCMAGIC_PROGRAMS:-$htc_home/programs}"/apptainer-*/usr/bin/apptainer \
        /cvmfs/oasis.opensciencegrid.org/mis/singularity/bin/singularity; do # codespell:ignore mis
        [[ -n $one ]] && found=$(type -P -- "$one") && [[ -n $found && -x $found ]] || continue
        if [[ $found != "$htc_runtime" ]]; then
            said=$("$found" --version 2>/dev/null) && [[ $said == *[0-9].[0-9]* ]] || continue
        fi
        htc_runtime=$found
        return
    done
    htc_diagnose "neither apptainer nor singularity is on this machine (htc-pool install --with apptainer brings one)"
}

# What the inside sees of the host. SOURCE [TARGET [ro]]: tested first, as a missing one would stop everything.
htc_bind() {
    local source=$1 target=${2:-$1} mode=$3 quote='"' one
    local -a csv=("source=$source" "destination=$target")
    [[ -z ${htc_bound[$source>$target]} ]] || return 0
    if [[ ! -e $source ]]; then
        htc_say "$source is not there and so not bound into the image"
        return 0
    fi
    htc_bound[$source>$target]=1
    if [[ $source$target != *[$':,"\\\n']* ]]; then
        htc_options+=(-B "$source:$target${mode:+:$mode}")
        return 0
    fi
    for one in 0 1; do
        [[ ${csv[one]} != *[$',"\n']* ]] || csv[one]=$quote${csv[one]//"$quote"/"$quote$quote"}$quote
    done
    htc_options+=(--mount "type=bind,${csv[0]},${csv[1]}${mode:+,$mode}")
}
htc_bind_present() {
    local one
    for one; do
        [[ -z $one || ! -r $one ]] || htc_bind "$one"
    done
}
htc_bind_cvmfs() {
    local point
    while read -r _ point _; do
        [[ $point != /cvmfs && $point != /cvmfs/* ]] || { htc_bind /cvmfs && return; }
    done </proc/self/mounts
    for point in /cvmfs/*; do
        [[ $point == '/cvmfs/*' ]] || { htc_bind /cvmfs && return; }
    done
}
htc_bind_credentials() {
    local ticket=${KRB5CCNAME#FILE:}
    [[ $ticket == /* ]] || ticket=/tmp/krb5cc_$UID
    htc_bind_present "${X509_USER_PROXY:-/tmp/x509up_u$UID}" "$X509_USER_CERT" "$X509_USER_KEY" "$X509_CERT_DIR" "$X509_VOMS_DIR" "$X509_VOMSES" \
        /etc/grid-security "$BEARER_TOKEN_FILE" "${XDG_RUNTIME_DIR:-/run/user/$UID}/bt_u$UID" "/tmp/bt_u$UID" "${ticket%/tkt}" /etc/krb5.conf
}
htc_bind_condor() {
    local named=$CONDOR_CONFIG
    [[ $named != */* ]] || named=${named%/*}
    htc_bind_present "$named" /etc/condor "$HOME/.condor"
}
htc_bind_all() {
    local one source rest
    local -A htc_bound=()
    case $htc_image_home in
        auto)
            # The runtime takes the home of the user database.
            one=$(unset -v HOME && printf '%s' ~)
            if [[ $HOME != "$one" && $HOME == /*[!/]* && -d $HOME && $HOME != *:* && " ${htc_flags[*]} " != *" --contain "* ]]; then
                htc_options+=(--home "$HOME")
            fi
            ;;
        none) htc_options+=(--no-home) ;;
        *) [[ -d $htc_image_home ]] || htc_diagnose "the folder $htc_image_home, which is to be the home, is not there" ;;&
        *) htc_options+=(--home "$htc_image_home") ;;
    esac
    [[ -z $htc_connection ]] || htc_bind "${htc_connection%/*}"
    htc_bind "$htc_folder"
    for one in logs snapshots; do
        [[ -d $htc_home/$one ]] || (umask 077 && mkdir -p "$htc_home/$one" 2>/dev/null)
        htc_bind_present "$htc_home/$one"
    done
    htc_bind_present "$htc_injected" "${htc_hooks[@]}"
    htc_bind_cvmfs
    [[ $htc_groups != *" grid "* ]] || htc_bind_credentials
    [[ $htc_groups != *" condor "* ]] || htc_bind_condor
    if [[ $TMPDIR == /* && -d $TMPDIR && $TMPDIR != /tmp && " ${htc_flags[*]} " != *" --contain "* ]]; then htc_bind "$TMPDIR"; fi
    for one in "${htc_binds[@]}"; do
        source=${one%%:*} rest=${one#"${one%%:*}"}
        if [[ -e $one || -z $rest ]]; then source=$one rest=:; fi
        rest=${rest#:}
        case $rest in
            ro | rw) htc_bind "$source" "$source" "$rest" ;;
            *:ro | *:rw) htc_bind "$source" "${rest%:*}" "${rest##*:}" ;;
            *) htc_bind "$source" "$rest" ;;
        esac
    done
    # The folder of the notebook; not where it would hide the image's own system.
    case $PWD/ in
        // | /bin/* | /boot/* | /dev/* | /etc/* | /lib*/* | /proc/* | /sbin/* | /sys/* | /usr/* | /var/) ;;
        *) [[ $htc_image_home == none && $HOME/ == "$PWD"/* ]] || { htc_bind "$PWD" && htc_options+=(--pwd "$PWD"); } ;;
    esac
}

# Values are evaluated by a shell inside: these three, and only these, are escaped. U+0080 and U+0081 mean
# something else to that shell, so a command of its own makes them. Both prefixes, or one runtime knows nothing of them and the other warns.
htc_give() {
    local value=$2 one
    for one in \\ '$' '`'; do
        value=${value//"$one"/"\\$one"}
    done
    value=${value//$'\302\200'/"\$(printf '\\302\\200')"}
    value=${value//$'\302\201'/"\$(printf '\\302\\201')"}
    if ((${#value} > 130000)); then
        htc_say "$1 is not passed on: it is too long"
        return
    fi
    export "APPTAINERENV_$1=$value" "SINGULARITYENV_$1=$value"
}
# shellcheck disable=SC2053 # patterns they are
htc_environment() {
    local name
    local -a names
    mapfile -t names < <(compgen -e)
    for name in "${names[@]}"; do
        case $name in
            APPTAINER* | SINGULARITY* | HTCMAGIC_* | HOME | PWD | OLDPWD | SHLVL | _) continue ;;
            PATH | LD_LIBRARY_PATH) [[ " $htc_literal " != *" $name "* ]] || htc_give "$name" "${!name}" ;;&
            PATH) continue ;;
        esac
        if [[ ${name^^} == $htc_secret || $name == $htc_scrubbed ]] && [[ $name != $htc_named ]]; then
            unset -v "$name" 2>/dev/null
        elif [[ $name == $htc_passed && $name != LD_LIBRARY_PATH ]]; then
            htc_give "$name" "${!name}"
        fi
    done
    if [[ " ${htc_flags[*]} " == *" --contain "* ]]; then unset -v TMPDIR; fi
    if [[ " ${htc_flags[*]} " == *" --cleanenv "* && -z $APPTAINERENV_LANG ]]; then htc_give LANG C.UTF-8; fi
    htc_give HTCMAGIC_INSIDE "$htc_folder"
    htc_give HTCMAGIC_HOME "$htc_home"
    htc_give HTCMAGIC_LOG "$htc_log"
    htc_give HTCMAGIC_KERNEL "$htc_kernel"
    htc_give HTCMAGIC_KERNEL_DIR "$htc_folder"
    # The kernel's own look-out for its parent would find the runtime's process, take the parent for gone, and end. 1 turns it off.
    htc_give JPY_PARENT_PID 1
    unset -v JPY_PARENT_PID
    htc_settings
}
# One bad name, or a value that no shell can read, and the runtime drops every variable it was given.
htc_refuse_names() {
    local word name
    while IFS= read -r -d '' word; do
        name=${word%%=*}
        [[ $name == APPTAINERENV_* || $name == SINGULARITYENV_* ]] || continue
        word=${word#*=}
        if [[ ! ${name#*ENV_} =~ ^[A-Za-z_][A-Za-z0-9_]*$ ]]; then
            htc_without+=(-u "$name")
            htc_say "$name is not passed on: not a variable's name"
        elif [[ $word == *$'\302\200'* || $word == *$'\302\201'* ]] || { [[ $word == *[\$\`\\]* ]] && ! /bin/bash -n -c "htc=\"${word//\"/}\"" 2>/dev/null; }; then
            htc_without+=(-u "$name")
            htc_say "$name is not passed on: no shell can read its value"
        fi
    done </proc/$$/environ
    ((${#htc_without[@]} == 0)) || htc_without=(env "${htc_without[@]}")
}

htc_run_inside() {
    htc_environment
    exec "${htc_without[@]}" "$htc_runtime" -q exec "${htc_flags[@]}" "${htc_options[@]}" "$htc_image" "$@"
}
# Beside the runtime: a process that ends it all when Jupyter, or the wrapper, is no more. Its process group is its own, so
# that it outlives a kernel that is killed, and clears away what the runtime then leaves.
htc_watch() {
    local child stat word
    trap '' INT TERM HUP
    exec </dev/null >/dev/null 2>&1
    read -r -u "$htc_signal" child
    read -r stat <"/proc/$$/stat"
    set -- ${stat##*) }
    [[ $3 != "$$" ]] || child=-$$
    while :; do
        read -r stat <"/proc/$BASHPID/stat"
        set -- ${stat##*) }
        [[ $2 == "$$" ]] || break
        if htc_parent_gone; then break; fi
        read -r -t 0.5 -u "$htc_signal" word
    done
    kill -TERM -- "$child"
    for word in {1..7}; do
        kill -0 -- "$child" || break
        read -r -t 0.1 -u "$htc_signal" stat
    done
    kill -KILL -- "$child"
    htc_clear
}
# The server of an image file's contents, which the runtime does not take along when it is killed.
htc_clear() {
    local stat
    for stat in /proc/[0-9]*/stat; do
        read -r stat 2>/dev/null <"$stat" || continue
        [[ $stat == *"(squashfuse"* || $stat == *"(fuse2fs)"* || $stat == *"(fuse-overlayfs)"* ]] || continue
        set -- "${stat%% *}" ${stat##*) }
        [[ $5 != "$$" ]] || kill -KILL "$1" 2>/dev/null
    done
}
# In what the runtime says, the line that tells most, in plain words.
htc_explain() {
    local line last=
    case $1 in
        *max_user_namespaces* | *"user namespace"* | *unprivileged_userns*)
            printf 'this machine allows no user namespaces, without which %s cannot start an image: ask its administrator' "${htc_runtime##*/}"
            return
            ;;
        *"executable file not found"* | *"$htc_first: no such file"*)
            printf 'the image %s has no %s' "$htc_image" "$htc_first"
            return
            ;;
    esac
    while read -r line; do
        [[ -z $line ]] || last=$line
        [[ $line != FATAL* ]] || break
    done <<<"$1"
    last=${last#FATAL:}
    printf '%s cannot start the image %s: %s' "${htc_runtime##*/}" "$htc_image" "${last#"${last%%[! ]*}"}"
}
# Was it the runtime that failed? Then the same start, of nothing, fails again. It mostly ends with 255.
htc_failed_early() {
    local spaces=1
    [[ $1 != 255 ]] || return 0
    read -r spaces 2>/dev/null </proc/sys/user/max_user_namespaces
    [[ $spaces == 0 ]] || { [[ $htc_mode == kernel ]] && ((SECONDS - htc_started < 5)); }
}
htc_ended() {
    local line said=
    case $1 in
        97)
            [[ $htc_mode == kernel ]] || exit 97
            while read -r line; do
                [[ $line != "htcmagic: "* ]] || said=${line#htcmagic: }
            done 2>/dev/null <"$htc_log"
            [[ -z $said ]] || htc_diagnose "$said"
            ;;
        1 | 126 | 127 | 255)
            if htc_failed_early "$1" && ! said=$(htc_run_inside "$htc_first" -c '' 2>&1 </dev/null); then
                printf '%s\n' "$said" 2>/dev/null >>"$htc_log"
                htc_diagnose "$(htc_explain "$said")"
            fi
            ;;
    esac
    exit "$1"
}
htc_outside() {
    local -a htc_options=() htc_without=() inner
    local htc_first htc_started status watcher='' one
    for one in "${htc_hooks[@]}"; do
        [[ ! -r $one ]] || htc_plain=
    done
    htc_find_runtime
    case $htc_image in
        /cvmfs/*) timeout -s KILL 30 test -e "$htc_image" || htc_diagnose "the image $htc_image is not there: is its repository mounted?" ;;
        *) [[ -e $htc_image ]] || htc_diagnose "the image $htc_image is not there any more" ;;
    esac
    htc_bind_all
    htc_refuse_names
    inner=(/bin/bash "$htc_self" "${htc_original[@]}")
    if [[ -n $htc_plain ]]; then
        eval "htc_python=$htc_python"
        case $htc_mode in
            kernel) inner=("$htc_python" -c "$htc_launcher" "${htc_args[@]}") ;;
            python) inner=("$htc_python" "${htc_args[@]}") ;;
            run) inner=("${htc_args[@]}") ;;
        esac
    fi
    # The inside, whichever part of it fails, tells why in a file that both sides know.
    htc_keep_log
    htc_log=$htc_home/logs/$htc_kernel.log
    [[ -n $htc_plain ]] || (umask 077 && printf '\n' >"$htc_log") 2>/dev/null
    htc_first=${inner[0]}
    [[ -z $htc_plain || $htc_mode != run ]] || htc_first=/bin/sh
    umask "$htc_mask"
    htc_started=$SECONDS
    if [[ $htc_mode == kernel ]]; then
        exec {htc_signal}<> <(:)
        set -m
        htc_watch &
        watcher=$!
        set +m
        disown "$watcher"
        trap : INT
    fi
    (
        [[ -z $watcher ]] || { builtin printf '%s\n' "$BASHPID" >&"$htc_signal" && exec {htc_signal}>&-; }
        htc_run_inside "${inner[@]}"
    )
    status=$?
    [[ -z $watcher ]] || kill -KILL "$watcher" 2>/dev/null
    ((status != 137)) || htc_clear
    htc_ended "$status"
}
if [[ -z $HTCMAGIC_INSIDE && $htc_mode != setup && $htc_mode != emit ]]; then htc_outside; fi
