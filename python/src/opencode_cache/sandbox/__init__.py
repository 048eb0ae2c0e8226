"""A private network namespace, and servers on loopback that stand in for the world outside."""
