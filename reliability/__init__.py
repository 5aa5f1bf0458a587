"""What strangers and bad luck may do to the app: one script per promise, with a short form each.

The figures stand in ``docs/reliability.md``.
"""
