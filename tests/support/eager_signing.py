"""The real command line with several checkpoints a second and a long time limit for witnesses."""

from interface import main
from interface.composition import background_work
from interface.outbound.http_out import witnesses

background_work._CHECKPOINTS_EVERY_SECONDS = 0.2  # type: ignore[assignment]
witnesses._TIMEOUT_SECONDS = 600

if __name__ == "__main__":
    main.main()
