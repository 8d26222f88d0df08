"""Request bodies of the user routes."""

from application.shared.fields import UserFields


class UserBody(UserFields):
    """All data of a user."""
