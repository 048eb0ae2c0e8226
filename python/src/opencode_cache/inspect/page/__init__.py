"""`list --html`: the page that shows a cache."""
