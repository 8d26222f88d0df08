"""Use cases for ticket policies."""
