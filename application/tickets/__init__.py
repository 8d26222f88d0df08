"""Use cases for ticket credentials."""
