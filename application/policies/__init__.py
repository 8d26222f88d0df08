"""Ticket policies."""
