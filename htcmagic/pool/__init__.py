"""Which HTCondor, and the only door to its bindings."""
