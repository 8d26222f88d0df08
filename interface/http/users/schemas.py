"""What callers send about users."""

from application.shared.fields import UserFields


class UserBody(UserFields):
    """A user, whole."""
