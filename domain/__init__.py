"""What a ticket credential is. No I/O, no clock, no randomness, no framework but eventsourcing.domain."""
