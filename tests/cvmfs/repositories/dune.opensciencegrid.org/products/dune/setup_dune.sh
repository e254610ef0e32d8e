# Makes UPS known: PRODUCTS and the functions setup, unsetup.
export PRODUCTS=/cvmfs/dune.opensciencegrid.org/products/dune:/cvmfs/larsoft.opensciencegrid.org/products
export UPS_DIR=/cvmfs/dune.opensciencegrid.org/products/dune/ups SETUP_UPS="ups v6_0_8" UPS_SHELL=sh
export PATH=$UPS_DIR/bin:$PATH
setup() {
    . "$($UPS_DIR/bin/ups setup "$@")" || return
}
unsetup() {
    unset "SETUP_${1^^}"
}
echo "Setting up larsoft UPS area... /cvmfs/larsoft.opensciencegrid.org"
echo "Setting up DUNE UPS area... /cvmfs/dune.opensciencegrid.org/products/dune/"
