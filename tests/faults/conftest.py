"""These tests are run by `make faults` only: they are slow, and need mounts and idle cores."""

import os

collect_ignore = (
    []
    if "TICKETS_TEST_FAULTS" in os.environ
    else [
        "test_clock_set_back.py",
        "test_database_outages.py",
        "test_failover.py",
        "test_full_disk.py",
        "test_many_connections.py",
        "test_read_only.py",
        "test_slow_callers.py",
    ]
)
