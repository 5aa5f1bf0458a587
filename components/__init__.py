"""The page: tabs, charts, tables and their wiring. Nothing here imports torch."""
