"""Types and ports shared by every capability of the application."""
