"""Outbound adapters: stores, mail, keys, clock."""
