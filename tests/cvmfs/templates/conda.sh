# conda's profile.d/conda.sh: a function; activate reads CONDA_SHLVL, runs activate.d, which trips -u.
export CONDA_EXE='@CONDA@/bin/conda' _CE_M='' _CE_CONDA='' CONDA_PYTHON_EXE='@CONDA@/bin/python'
conda() {
    local name prefix script
    case $1 in
        activate)
            name=${2:-base}
            case $name in
                /*) prefix=$name ;;
                base) prefix=@CONDA@ ;;
                *) prefix=@CONDA@/envs/$name ;;
            esac
            if [ ! -d "$prefix/conda-meta" ]; then
                \echo "EnvironmentNameNotFound: Could not find conda environment: $name" >&2
                \echo "You can list all discoverable environments with \`conda info --envs\`." >&2
                return 1
            fi
            PATH="$prefix/bin:@CONDA@/condabin:$PATH"
            CONDA_SHLVL=$((${CONDA_SHLVL:-0} + 1))
            CONDA_PREFIX=$prefix CONDA_DEFAULT_ENV=$name CONDA_PROMPT_MODIFIER="($name) "
            export PATH CONDA_SHLVL CONDA_PREFIX CONDA_DEFAULT_ENV CONDA_PROMPT_MODIFIER
            for script in "$prefix"/etc/conda/activate.d/*.sh; do
                [ ! -e "$script" ] || . "$script"
            done
            ;;
        *) command conda "$@" ;;
    esac
}
if [ -z "${CONDA_SHLVL+x}" ]; then
    export CONDA_SHLVL=0
    PATH="@CONDA@/condabin${PATH:+:$PATH}"
fi
