"""The ticket credential: states, events and aggregate."""
