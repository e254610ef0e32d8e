# Reads options from "$@", tells what it does on stdout, refuses a second set-up, knows two systems, trips -u half-way.
build_type=opt
k4_base=$(dirname "${BASH_SOURCE[0]}")
if grep -qE '^ID="?(almalinux|rhel|rocky)' /etc/os-release && grep -qE '^VERSION_ID="?9' /etc/os-release; then
    os=almalinux9
elif grep -qE '^ID=ubuntu' /etc/os-release && grep -qE '^VERSION_ID="?2[24]' /etc/os-release; then
    os=ubuntu22
else
    echo "Unsupported OS or OS couldn't be correctly detected, aborting..."
    echo "Supported OSes are: AlmaLinux/RockyLinux/RHEL 9, Ubuntu 22.04, Ubuntu 24.04"
    return 1
fi
rel=latest-opt
while [ $# -gt 0 ]; do
    case $1 in
        -r) rel=$2; shift ;;
        -d) build_type=dbg ;;
        -h | --help) echo "Usage: source /cvmfs/sw.hsf.org/key4hep/setup.sh [-r <release>]"; return 0 ;;
        *) echo "Unknown argument $1, it will be ignored" ;;
    esac
    shift
done
if [ ! -d "$k4_base/releases/$rel" ]; then
    echo "Release $rel with build type $build_type not found, this is a list of the available releases:"
    ls $k4_base/releases
    echo "Aborting..."
    return 1
fi
if [ -n "$KEY4HEP_STACK" ]; then
    echo "The Key4hep software stack is already set up, please start a new shell to avoid conflicts"
    return 1
fi
echo "AlmaLinux/RockyLinux/RHEL 9 detected"
if [ -n "$LCG_VERSION" ]; then
    echo "A LCG stack has been sourced, unsetting the following variables to avoid conflicts:"
    unset CMAKE_PREFIX_PATH CPPYY_BACKEND_LIBRARY LD_LIBRARY_PATH PKG_CONFIG_PATH PYTHONHOME PYTHONPATH
fi
k4_local_repo() {
    echo "Added $PWD/install to the environment"
}
setup_actual=$(readlink -f $(ls -t1 $k4_base/releases/$rel/*$os*$build_type/key4hep-stack/*/setup.sh | head -1))
export key4hep_stack_version=${rel#latest-}
echo "Setting up the Key4hep software stack release ${rel} from CVMFS"
echo "Use the following command to reproduce the current environment: "
echo ""
echo "        source /cvmfs/sw.hsf.org/key4hep/setup.sh -r $rel"
echo ""
echo "If you have any issues, comments or requests, open an issue"
source ${setup_actual}
echo "Tip: A new -d flag can be used to access debug builds, otherwise the default is the optimized build"
