"""The commands, by what they are for. Each module registers its own with `app`; `cli` imports them all."""
