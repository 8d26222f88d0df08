"""Monitoring and maintenance for operators."""
