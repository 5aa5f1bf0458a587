"""Stage 5: the tab and its parts."""
