"""The real command line, which copies the write-ahead log into the database after every few pages."""

from interface import main
from interface.outbound.sql import sqlite_store

sqlite_store._CHECKPOINT_PAGES = 4

if __name__ == "__main__":
    main.main()
