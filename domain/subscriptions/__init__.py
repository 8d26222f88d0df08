"""Subscriptions to a client's events."""
