"""Code that all routes share."""
