"""Use cases for users."""
