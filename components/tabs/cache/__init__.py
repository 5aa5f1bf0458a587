"""Stage 6: the tab and its parts."""
