stack_script=/cvmfs/sw.hsf.org/key4hep/setup.sh
if [[ $htc_release == nightlies* ]]; then
    htc_mounted sw-nightlies.hsf.org
    stack_script=/cvmfs/sw-nightlies.hsf.org/key4hep/setup.sh
    htc_entry "$stack_script"
    htc_release=${htc_release#nightlies} htc_release=${htc_release#,}
fi
# -r must come first, and only words that mean something may follow.
stack_words=()
[[ -z $htc_release ]] || stack_words+=(-r "$htc_release")
[[ $htc_build != dbg ]] || stack_words+=(-d)
source "$stack_script" "${stack_words[@]}"
