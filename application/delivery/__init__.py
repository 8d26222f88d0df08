"""Ticket delivery: the outbox, delivery attempts and their status."""
