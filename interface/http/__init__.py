"""Driven by programs: HTTP."""
