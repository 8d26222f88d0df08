"""The URL of a broker: its address and the login."""

import re
from dataclasses import dataclass, field
from urllib.parse import unquote

_FORM = re.compile(
    r"(?P<scheme>nats|tls|kafka|kafka\+ssl)://(?:(?P<user>[^:@/]*)(?::(?P<password>[^@/]*))?@)?"
    r"(?P<hosts>(?:[\w.-]+|\[[0-9a-fA-F:.]+\]):\d{1,5}(?:,(?:[\w.-]+|\[[0-9a-fA-F:.]+\]):\d{1,5})*)/?"
)


@dataclass(frozen=True)
class BrokerUrl:
    """The servers of a broker's cluster, and the login, which is never shown."""

    scheme: str
    hosts: tuple[str, ...]
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    @property
    def is_kafka(self) -> bool:
        """Return whether the broker is Kafka; otherwise it is NATS."""
        return self.scheme.startswith("kafka")

    @property
    def extra(self) -> str:
        """Return the extra that installs its library."""
        return "kafka" if self.is_kafka else "nats"

    @property
    def address(self) -> str:
        """Return the URL without the login."""
        return f"{self.scheme}://{','.join(self.hosts)}"

    def __str__(self) -> str:
        return self.address.replace("://", "://***@") if self.user else self.address


def parse_broker_url(text: str) -> BrokerUrl:
    """Return the parts of nats://, tls://, kafka:// or kafka+ssl://[user[:password]@]host:port[,host:port].

    The hosts are sorted, so that URLs with the same hosts are equal. Raises ValueError, which does not contain the URL.
    """
    found = _FORM.fullmatch(text)
    if not found:
        raise ValueError(
            "the broker must be nats://host:port, tls://host:port, kafka://host:port[,host:port] or kafka+ssl://…,"
            " optionally with a percent-encoded user:password@ before the host"
        )
    user, password = found["user"], found["password"]
    return BrokerUrl(
        found["scheme"],
        tuple(sorted(found["hosts"].split(","))),
        unquote(user) if user else None,
        unquote(password) if password else None,
    )
