"""The delivery of a ticket."""
