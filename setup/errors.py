"""The one error that set-up shows to its user."""


class SetupError(Exception):
    """What was wrong, and what would be right."""
