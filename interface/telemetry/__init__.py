"""What operators see of a running service: metrics, logs, traces."""
