"""The child process of `verify`: the steps of the proof, inside the namespace."""
