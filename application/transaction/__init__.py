"""Commands, the unit of work, group commit and the store's ports."""
