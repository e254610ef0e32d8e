export LC_ALL=C
export PATH=@PYTHON@/bin:@PREFIX@/gaudi/39.2/bin:$PATH
export PYTHONPATH=@PREFIX@/python-packages${PYTHONPATH:+:$PYTHONPATH}
export LD_LIBRARY_PATH=@PREFIX@/gaudi/39.2/lib
export CMAKE_PREFIX_PATH=@PREFIX@/gaudi/39.2
export ROOTSYS=@PREFIX@/root/6.34 K4GEO=@PREFIX@/k4geo
export KEY4HEP_STACK=@STACK@
