"""Two sets of weights, compared: the tab and its parts."""
