"""HTCondor as a first-class citizen of Jupyter: magics that send work to a pool and show it live."""

__version__ = "0.1.0"
