"""What a part of the page is, how it is drawn on request, and how its experiments run."""
