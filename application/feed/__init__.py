"""The event feed: read, follow, and publish to a broker."""
