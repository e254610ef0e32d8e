"""The magics: parse, delegate, return; nothing else."""
