"""Ticket delivery."""
