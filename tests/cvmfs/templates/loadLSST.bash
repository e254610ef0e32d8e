# loadLSST.bash: conda, then EUPS; reads "$1" as an environment's name, as conda's activate does.
LSST_HOME=@BASE@
export LSST_CONDA_ENV_NAME=${LSST_CONDA_ENV_NAME:-lsst-scipipe-10.0.0}
if [ -n "$1" ]; then
    LSST_CONDA_ENV_NAME=$1
fi
source $LSST_HOME/conda/etc/profile.d/conda.sh
conda activate "$LSST_CONDA_ENV_NAME" || return
export EUPS_PATH=$LSST_HOME/stack EUPS_DIR=$LSST_HOME/eups RUBIN_EUPS_PATH=$LSST_HOME/stack SETUP_EUPS="eups 2.2.8"
setup() {
    if [ ! -d "$EUPS_PATH/$1" ]; then
        echo "setup: Product $1 not found" >&2
        return 1
    fi
    export "SETUP_${1^^}=$1 -f Linux64 -Z $EUPS_PATH" "${1^^}_DIR=$EUPS_PATH/$1"
    export PYTHONPATH=$EUPS_PATH/$1/python${PYTHONPATH:+:$PYTHONPATH} PATH=$EUPS_PATH/$1/bin:$PATH
}
unsetup() {
    unset "SETUP_${1^^}"
}
export -f setup unsetup
