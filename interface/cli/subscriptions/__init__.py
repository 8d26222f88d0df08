"""Subscriptions on the command line."""
