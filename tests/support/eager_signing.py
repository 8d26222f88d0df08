"""The real command line, but that a server signs and sends several times a second, and waits long for a witness."""

from interface import main
from interface.outbound import witnesses
from interface.wiring import server

server._CHECKPOINTS_EVERY_SECONDS = 0.2  # type: ignore[assignment]
witnesses._TIMEOUT_SECONDS = 600

if __name__ == "__main__":
    main.main()
