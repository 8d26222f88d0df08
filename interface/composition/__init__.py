"""Where everything is wired, and nothing else wires."""
