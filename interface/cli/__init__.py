"""Driven by people: the command line."""
