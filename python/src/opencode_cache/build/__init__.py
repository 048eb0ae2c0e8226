"""From tarballs and a lock to the content of OpenCode's cache directory."""
