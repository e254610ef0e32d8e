"""What runs on the worker: only the standard library, cloudpickle and htchirp, all of which it brings along.

The same modules write and read files on this side. ``bundle`` packs them and ``htcmagic.functions.job`` into one file.
"""
