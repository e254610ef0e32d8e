[[ -x $htc_prefix/bin/python ]] || htc_refuse "there is no virtual environment $htc_prefix any more"
unset -v PYTHONHOME
export VIRTUAL_ENV=$htc_prefix
PATH=$htc_prefix/bin:$PATH
# A stack's PYTHONPATH would win over the environment's own packages.
if [[ -n $PYTHONPATH ]]; then
    for htc_word in "$htc_prefix"/lib/python3.*/site-packages; do
        [[ ! -d $htc_word ]] || PYTHONPATH=$htc_word:$PYTHONPATH
    done
fi
