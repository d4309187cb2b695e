"""Looks at the live page of real runs with a real browser: `python -m tests.page PROGRAM`."""
