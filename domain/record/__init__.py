"""The access log of a client."""
