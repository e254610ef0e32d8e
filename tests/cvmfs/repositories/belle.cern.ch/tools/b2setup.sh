BELLE2_TOOLS=`python3 -c 'import os,sys;print(os.path.realpath(sys.argv[1]))' $(dirname ${BASH_SOURCE:-$0})`
BELLE2_SETUP_DIRS="${PWD} ${HOME} ${BELLE2_TOOLS} ${BELLE2_CONFIG_DIR} /etc /sw/belle2"
for DIR in `echo ${BELLE2_SETUP_DIRS}`; do
  if [ -f ${DIR}/b2presetup.sh ]; then
    source ${DIR}/b2presetup.sh
    break
  fi
done
export BELLE2_TOOLS
export PATH=${BELLE2_TOOLS}:${PATH}
if [ -n "${PYTHONPATH}" -a "${PYTHONPATH}" != "${BELLE2_TOOLS}" ]; then
  echo "Warning: Changing existing PYTHONPATH from ${PYTHONPATH} to ${BELLE2_TOOLS}"
fi
export PYTHONPATH=${BELLE2_TOOLS}
if [ -z "${VO_BELLE2_SW_DIR}" ]; then
  export VO_BELLE2_SW_DIR=`echo ${BELLE2_TOOLS%/*}/$(${BELLE2_TOOLS}/b2install-print-os | tr -d ' ')`
fi
export BELLE2_EXTERNALS_TOPDIR=${VO_BELLE2_SW_DIR}/externals
export BELLE2_ARCH=`uname -s`_`uname -m` BELLE2_OPTION=opt BELLE2_EXTERNALS_OPTION=opt
export BELLE2_SUBDIR=${BELLE2_ARCH}/${BELLE2_OPTION}
export JUPYTER_CONFIG_DIR=${BELLE2_TOOLS}/../jupyter
function b2setup
{
  eval "`python3 ${BELLE2_TOOLS}/b2setup.py $* || echo 'return 1'`"
}
function b2setup-externals
{
  eval "`python3 ${BELLE2_TOOLS}/b2setup.py --externals $* || echo 'return 1'`"
}
echo "Belle II software tools set up at: ${BELLE2_TOOLS}"
grep -q "no such thing" /etc/passwd | cat
if [ -z "${BELLE2_NO_TOOLS_CHECK}" ]; then
  echo "Warning: Could not access remote git repository in non-interactive mode."
  sleep 3
fi
if [ -f .release ] || [ -f .analysis ] || [ -n "${MY_BELLE2_DIR}" ] || [ -n "${MY_BELLE2_RELEASE}" ] || [ "$1" != "" ]; then
  b2setup "$@"
fi
for DIR in `echo ${BELLE2_SETUP_DIRS}`; do
  if [ -f ${DIR}/b2postsetup.sh ]; then
    source ${DIR}/b2postsetup.sh
    break
  fi
done
