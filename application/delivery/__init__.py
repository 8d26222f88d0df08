"""Delivery of tickets."""
