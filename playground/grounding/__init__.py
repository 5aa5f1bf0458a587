"""Boxes and points that a model writes: read, converted, drawn, and how sure each edge is."""
