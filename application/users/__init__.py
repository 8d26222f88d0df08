"""Users, who receive tickets."""
