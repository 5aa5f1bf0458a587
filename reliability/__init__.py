"""Hostile input and bad luck: one script per target, each with a short form.

The results are in ``docs/reliability.md``.
"""
