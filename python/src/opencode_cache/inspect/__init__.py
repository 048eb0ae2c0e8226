"""What can be told of a cache, a lock or a user's directories without changing anything."""
