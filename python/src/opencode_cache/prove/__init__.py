"""The proof that a cache is complete: the warm-up of a build, and `verify`."""
