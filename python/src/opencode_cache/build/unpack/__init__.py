"""From one npm tarball to files: the archive, npm's rules, what may be left out, the `.bin` links."""
