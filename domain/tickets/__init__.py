"""A ticket credential: its states, events and decisions."""
