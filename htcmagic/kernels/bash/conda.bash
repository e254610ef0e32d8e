[[ -x $htc_prefix/bin/python ]] || htc_refuse "there is no conda environment $htc_prefix any more"
unset -v PYTHONHOME
export CONDA_PREFIX=$htc_prefix CONDA_DEFAULT_ENV=${htc_prefix##*/} CONDA_SHLVL=1
PATH=$htc_prefix/bin:$PATH
for htc_word in "$htc_prefix"/etc/conda/activate.d/*.sh; do
    [[ ! -r $htc_word ]] || source "$htc_word"
done
