"""The command line tools: ``main(argv) -> int``."""
