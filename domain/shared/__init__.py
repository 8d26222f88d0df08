"""What every capability of the domain shares."""
