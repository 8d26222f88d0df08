"""The command line of privacyIDEA's official image, with two workers on loopback.

A worker of the default class closes each connection after one response. This class handles one request at a time, too, but
keeps the connections, as the measured service does.
"""

from typing import Any

workers = 2
worker_class = "gthread"
threads = 1
worker_tmp_dir = "/dev/shm"
accesslog = "-"
errorlog = "-"


def pre_request(_worker: Any, request: Any) -> None:
    """Remove the scheme that the load client sends, since privacyIDEA accepts only the token itself."""
    request.headers = [
        (name, value.removeprefix("Bearer ") if name == "AUTHORIZATION" else value)
        for name, value in request.headers
    ]
