"""What the service does: a file per use case, the read projection, the ports. Knows the domain only."""
