"""What callers send about users."""

from application.shared.fields import UserFields


class UserBody(UserFields):
    """All data of a user."""
