"""`python -m opencode_cache`: the command line."""

from .cli import main

main()
