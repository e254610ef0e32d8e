# Is the software there? A file system that hangs is asked by a process that nobody waits for.
htc_mount_s=20
htc_answer() {
    local said=
    case $1 in
        filled) IFS= read -r -t "$htc_mount_s" said < <(exec 2>/dev/null && compgen -G "$2/*" >/dev/null && echo yes || echo no) ;;
        there) IFS= read -r -t "$htc_mount_s" said < <(exec 2>/dev/null && [[ -e $2 ]] && echo yes || echo no) ;;
    esac
    if [[ -z $said ]]; then
        kill -KILL "$!" 2>/dev/null
        htc_refuse "$3 does not answer within $htc_mount_s s"
    fi
    [[ $said == yes ]]
}
# htc_mounted REPOSITORY…
htc_mounted() {
    local name
    for name; do
        htc_answer filled "/cvmfs/$name" "/cvmfs/$name" || htc_refuse "/cvmfs/$name is not mounted here"
    done
}
# htc_entry FILE…
htc_entry() {
    local file name
    for file; do
        htc_answer there "$file" "$file" && continue
        [[ $file != /cvmfs/*/* ]] || { name=${file#/cvmfs/} && htc_mounted "${name%%/*}"; }
        htc_refuse "$file is not there: is the release one for this platform, and not removed?"
    done
}
