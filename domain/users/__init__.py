"""Users: the recipients of tickets."""
