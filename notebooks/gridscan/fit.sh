#!/bin/bash
# One point of the grid scan, as HTCondor runs it: fit.sh X Y --mass M -o out.root
# fit.py lies beside this script, in the notebook's folder and in a worker's scratch folder alike.
# PYTHON names the interpreter that has pyhf and uproot; a job has one core, so one thread.
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1
exec "${PYTHON:-python3}" "$(dirname "$0")/fit.py" "$@"
