# The set-up of one ATLAS release; @PROJECT@ and @VERSION@ are filled in by the builder.
export AtlasProject=@PROJECT@ AtlasVersion=@VERSION@ AtlasArea=@BASE@
export @PROJECT@_PLATFORM=@PLATFORM@ @PROJECT@_VERSION=@VERSION@ @PROJECT@_DIR=@BASE@ @PROJECT@_SET_UP=1
export ROOTSYS=@PYTHON@ LCG_RELEASE_BASE=/cvmfs/atlas.cern.ch/repo/sw/software/25.2/sw/lcg/releases
export PATH=@BASE@/bin:@PYTHON@/bin:$PATH
export LD_LIBRARY_PATH=@BASE@/lib:$LD_LIBRARY_PATH
export PYTHONPATH=@BASE@/python:$PYTHONPATH
