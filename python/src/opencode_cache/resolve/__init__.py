"""From a plan to a lock: npm decides which versions stand behind what OpenCode asks for."""
