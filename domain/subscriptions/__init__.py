"""Event subscriptions of a client."""
