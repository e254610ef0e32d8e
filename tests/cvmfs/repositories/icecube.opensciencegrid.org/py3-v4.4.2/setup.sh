#!/bin/sh
# For eval: prints shell text, in the syntax of $SHELL; finds itself by $0, so sourcing it does nothing useful, with rc 0.
DIR=$(echo "${0%/*}")
if [ -d "${DIR}" ] && [ -e "${DIR}/os_arch.sh" ]; then
    SROOTBASE=$(cd "$DIR" && pwd -L)
else
    SROOTBASE=$(pwd)
fi
[ -e $SROOTBASE/os_arch.sh ] && . $SROOTBASE/os_arch.sh >/dev/null
SROOT=$SROOTBASE/$OS_ARCH
sroot_path=$SROOT/bin:$PATH
sroot_library=$SROOT/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
say() {
    case ${SHELL} in
        *csh) echo "setenv $1 \"$2\" ;" ;;
        *) echo "export $1=\"$2\" ;" ;;
    esac
}
say SROOTBASE "$SROOTBASE"
say SROOT "$SROOT"
say OS_ARCH "$OS_ARCH"
say PATH "$sroot_path"
say LD_LIBRARY_PATH "$sroot_library"
say PYTHONHOME "$SROOT"
say PYTHONPATH "$SROOT/lib"
say ROOTSYS "$SROOT"
say I3_DATA "$SROOTBASE/../data"
say I3_TESTDATA "$SROOTBASE/../data/i3-test-data"
say X509_CERT_DIR "$SROOT/share/certificates"
say GOTO_NUM_THREADS 1
