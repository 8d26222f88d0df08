"""Subscriptions: definition, push, poll and security events."""
