"""What leaves the page: links, the run report, a stage's numbers as files."""
