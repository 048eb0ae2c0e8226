"""OpenCode's own configuration: where it is read, what it asks for, and what a cache has of that."""
