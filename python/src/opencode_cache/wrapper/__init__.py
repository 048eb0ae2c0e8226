"""The wrapper script and the JavaScript that it preloads."""
