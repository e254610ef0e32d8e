stack_prefix=/cvmfs/software.igwn.org/conda/envs/$htc_release
source /cvmfs/software.igwn.org/conda/etc/profile.d/conda.sh
conda activate "$htc_release"
[[ $CONDA_PREFIX == "$stack_prefix" || $CONDA_PREFIX -ef $stack_prefix ]] || htc_refuse "conda activate $htc_release did not work"
