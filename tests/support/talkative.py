"""The real command line with debug logs of every logger; with PYTHONASYNCIODEBUG also of the event loops."""

import logging

from interface import main

logging.basicConfig(level=logging.DEBUG, format="%(levelname)s %(name)s: %(message)s")
for name in ("application", "interface", "tickets", "asyncio", "uvloop", "aiosmtplib", "psycopg", "uvicorn"):
    # Each logger by itself, since the service sets the root level.
    logging.getLogger(name).setLevel(logging.DEBUG)
# By default, callbacks slower than 0.1 s are logged with their arguments.
logging.getLogger("asyncio").debug("talkative")

if __name__ == "__main__":
    main.main()
