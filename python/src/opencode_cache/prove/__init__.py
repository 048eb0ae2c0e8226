"""The proof that a cache is complete: the warm-up of a build, `verify`, and where proofs are kept."""
