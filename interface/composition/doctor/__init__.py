"""The checks of `tickets doctor`."""
