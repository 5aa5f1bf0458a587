"""Stage 4: the tab and its parts."""
