#!/bin/sh
. /etc/os-release
case $ID in
    almalinux | rocky | rhel | centos) OS_ARCH=RHEL_${VERSION_ID%%.*}_x86_64_v2 ;;
    debian) OS_ARCH=Ubuntu_22.04_x86_64_v2 ;;
    *) OS_ARCH=${ID}_${VERSION_ID}_x86_64_v2 ;;
esac
echo ${OS_ARCH}
export OS_ARCH
