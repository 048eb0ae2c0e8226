"""The air-gap bundle: one file with OpenCode, its cache and the wrapper; made, checked, installed, undone."""
