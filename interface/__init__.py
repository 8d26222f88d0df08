"""The edges of the service: HTTP, the command line and outbound adapters; main.py wires them."""
