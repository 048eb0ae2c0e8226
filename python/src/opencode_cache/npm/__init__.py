"""npm: its specs, its client, its platforms, and Node.js."""
