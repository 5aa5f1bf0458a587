"""Input → prompt: the panel, the examples, uploads, and their checks."""
