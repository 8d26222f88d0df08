"""Subscriptions: push, poll and security events."""
