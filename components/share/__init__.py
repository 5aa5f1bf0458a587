"""Sharing: links, the run report, and a stage's numbers as files."""
