"""Stage 1: the tab and its parts."""
