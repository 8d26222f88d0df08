"""The event feed of a client."""
