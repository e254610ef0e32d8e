# Robust to -e and -u; exports functions; the release comes from scramv1 in the release's folder.
export CMS_PATH=/cvmfs/cms.cern.ch VO_CMS_SW_DIR=/cvmfs/cms.cern.ch
export PATH=/cvmfs/cms.cern.ch/common:${PATH:-/usr/bin:/bin}
if [ -z "${SCRAM_ARCH:-}" ]; then
    SCRAM_ARCH=$(/cvmfs/cms.cern.ch/common/cmsarch)
fi
export SCRAM_ARCH
cmsenv() {
    eval "$(scramv1 runtime -sh)"
}
cmsrel() {
    scramv1 project CMSSW "$1"
}
export -f cmsenv cmsrel
export SITECONFIG_PATH=/cvmfs/cms.cern.ch/SITECONF/local
