"""Ticket credentials."""
