"""The look of the page: theme and style sheets."""
