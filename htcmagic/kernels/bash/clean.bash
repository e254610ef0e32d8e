# An almost empty environment: what says who and where the user is, nothing else.
if [[ -z $HTCMAGIC_INSIDE && $htc_mode != setup && $htc_mode != emit && $HTCMAGIC_CLEANED != "$$" ]]; then
    htc_keep=()
    while IFS= read -r -d '' htc_word; do
        case ${htc_word%%=*} in
            HOME | USER | LOGNAME | SHELL | LANG | LC_* | TERM | TZ | TMPDIR | XDG_RUNTIME_DIR | XDG_DATA_HOME | KRB5CCNAME | X509_* | BEARER_TOKEN* | \
                CONDOR_CONFIG | _CONDOR_* | JPY_PARENT_PID | JPY_SESSION_NAME | JUPYTER_RUNTIME_DIR | HTCMAGIC_*) htc_keep+=("$htc_word") ;;
        esac
    done <"/proc/$$/environ"
    exec /usr/bin/env -i PATH=/usr/local/bin:/usr/bin:/bin "${htc_keep[@]}" HTCMAGIC_CLEANED=$$ /bin/bash "$htc_self" "${htc_original[@]}"
fi
unset -v HTCMAGIC_CLEANED
