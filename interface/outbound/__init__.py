"""Driven by the application: stores, mail, keys, clock."""
