"""The rows that are stored and read."""
