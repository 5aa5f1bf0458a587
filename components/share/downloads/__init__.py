"""A stage's numbers as files."""
