"""Links that restore a page, and the pictures that they name."""
