"""The live view: what is watched, where it comes from, and how it is shown."""
