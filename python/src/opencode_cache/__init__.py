"""Builds, proves and wraps a pinned, offline cache for the OpenCode terminal agent."""

__version__ = "0.1.0"
