"""Unexpected exceptions, in the log."""

import logging
import traceback


def log_fault(log: logging.Logger, doing: str, error: Exception) -> None:
    """Log the type and the place of an unexpected exception; its message may contain a secret or personal data."""
    where = "".join(traceback.format_tb(error.__traceback__))
    log.error("%s: %s in\n%s", doing, type(error).__name__, where)
