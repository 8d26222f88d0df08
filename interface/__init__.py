"""Both edges: http and cli are driven by the world, outbound is driven by the application; main.py wires."""
