"""What all routes and commands share."""
