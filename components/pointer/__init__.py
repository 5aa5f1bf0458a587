"""One pointer through all tabs: what is pointed at, in Python and in the browser."""
