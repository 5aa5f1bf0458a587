"""The checkpoint behind the page: the tab and its part."""
