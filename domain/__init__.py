"""The domain model: no I/O, no clock, no randomness, no framework except eventsourcing.domain and msgspec."""
