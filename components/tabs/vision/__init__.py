"""Stage 2: the tab and its parts."""
