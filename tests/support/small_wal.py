"""The real command line, which copies the write-ahead log into the database after every few pages."""

from interface import main
from interface.outbound.sql import sqlite_connections

sqlite_connections.CHECKPOINT_PAGES = 4
sqlite_connections._COMMITS_BETWEEN_CHECKPOINTS = 1

if __name__ == "__main__":
    main.main()
