"""Commands, the unit of work, group commit and the port of the store."""
