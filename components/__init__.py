"""The page: parts, tabs, charts, and what is around them. Nothing here imports torch."""
