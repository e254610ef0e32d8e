# ---- 1. Start: nothing inherited disturbs what follows, and the arguments are kept from what is sourced below.
POSIXLY_CORRECT=${POSIXLY_CORRECT-none} # in POSIX mode no function stands before set, trap, unset
\set +abefkmuvxCET +o pipefail
\trap - DEBUG ERR RETURN EXIT
\unset -f set unset builtin command compgen declare exec exit export local printf read shopt trap umask unalias
\unset -v "${!htc_@}" IFS CDPATH GLOBIGNORE
htc_posix=$POSIXLY_CORRECT
\unset -v POSIXLY_CORRECT
\set +o posix
\unalias -a
htc_args=("$@")
htc_original=("$@")
set --
htc_bash_env=$BASH_ENV
unset -v BASH_ENV
export -n SHELLOPTS BASHOPTS
export PATH=${PATH:-/usr/local/bin:/usr/bin:/bin}
# In one go, as each costs a process: the file mask, and functions that were inherited.
htc_mask=$(umask && compgen -A function)
while read -r htc_word; do
    case $htc_word in
        [0-7][0-7]* | module | ml | _module_raw | _moduleraw) ;; # a site's, which users' set-ups count on
        *) unset -f "$htc_word" ;;
    esac
done <<<"$htc_mask"
htc_mask=${htc_mask%%$'\n'*}
