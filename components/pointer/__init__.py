"""One pointer for all tabs: the selected token or patch, in Python and in the browser."""
