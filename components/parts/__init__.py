"""Parts of the page: how they are declared and drawn, and how their experiments run."""
