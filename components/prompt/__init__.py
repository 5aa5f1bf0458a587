"""Input → prompt: the panel, the examples, uploads, and the checks of all of it."""
