"""What every capability of the application shares."""
