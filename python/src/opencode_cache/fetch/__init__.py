"""Downloads by hash: npm tarballs and GitHub archives."""
