# shellcheck shell=bash disable=SC2016,SC2089,SC2090,SC2154
# ---- What was written above is this job's; what follows is the same for all. Everything of it is in this one file, as it has to
# ---- work where the files of the notebook are seen, and where only this file has been copied.
htc_stop() {
    printf 'htcmagic: %s\n' "$1" >&2
    exit 97
}
export PATH="${PATH:-/usr/local/bin:/usr/bin:/bin}"
# A folder: HTCondor brings new files back from a job, but no folders.
htc_job=$(mktemp -d "${_CONDOR_SCRATCH_DIR:-${TMPDIR:-/tmp}}/.htcmagic.XXXXXXXX") || htc_stop "the job has no folder to write to"
htc_write || htc_stop "the job's script cannot be written to $htc_job: is the disk full?"
chmod 700 "$htc_job"/*
# The set-up sees nothing of the items, as it may use the same names, and the script sees nothing of what is ours.
HTCMAGIC_JOB="unset HTCMAGIC_JOB HTCMAGIC_ITEMS HTCMAGIC_HOME HTCMAGIC_INSIDE HTCMAGIC_KERNEL_DIR"
for htc_word in "${htc_given[@]}"; do
    [[ ! -v $htc_word ]] || printf -v HTCMAGIC_JOB '%s\n[[ -v %s ]] || export %s=%q' "$HTCMAGIC_JOB" "$htc_word" "$htc_word" "${!htc_word}"
done
[[ -z $HTCMAGIC_ITEMS ]] || HTCMAGIC_JOB+=$'\n'"export $HTCMAGIC_ITEMS"
if ((${#htc_columns[@]})); then
    HTCMAGIC_JOB+=$'\nset --'
    for htc_word in "${htc_columns[@]}"; do
        HTCMAGIC_JOB+=" \"\$$htc_word\""
    done
fi
[[ -z $HTCMAGIC_HOME ]] || printf -v HTCMAGIC_JOB '%s\nexport HTCMAGIC_HOME=%q' "$HTCMAGIC_JOB" "$HTCMAGIC_HOME"
unset HTCMAGIC_ITEMS HTCMAGIC_CLEANED HTCMAGIC_FAILED HTCMAGIC_STATE HTCMAGIC_LOG HTCMAGIC_INSIDE JPY_PARENT_PID
export HTCMAGIC_JOB HTCMAGIC_HOME=$htc_job
htc_start=(/bin/bash -c 'eval "$HTCMAGIC_JOB"; exec -- "$0" "$@"' "$htc_job/script" "$@")
[[ -z $htc_image ]] || export HTCMAGIC_INSIDE=$htc_job # the folder of the setup.sh that is inside already
[[ ! -e $htc_job/setup.sh ]] || exec /bin/bash "$htc_job/setup.sh" --run "${htc_start[@]}"
exec "${htc_start[@]}"
