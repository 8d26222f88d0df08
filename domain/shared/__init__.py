"""Types shared by every capability of the domain."""
