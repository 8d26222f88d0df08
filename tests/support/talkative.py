"""The real command line, but that every logger tells all it knows; with PYTHONASYNCIODEBUG so do the event loops."""

import logging

from interface import main

logging.basicConfig(level=logging.DEBUG, format="%(levelname)s %(name)s: %(message)s")
for name in ("application", "interface", "tickets", "asyncio", "uvloop", "aiosmtplib", "psycopg", "uvicorn"):
    # Each by itself, since the service sets the level of all together.
    logging.getLogger(name).setLevel(logging.DEBUG)
# A callback counts as slow, and is told with its arguments, after 0.1 s by default.
logging.getLogger("asyncio").debug("talkative")

if __name__ == "__main__":
    main.main()
