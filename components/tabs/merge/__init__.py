"""Stage 3: the tab and its parts."""
