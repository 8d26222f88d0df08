"""Where a broker is, and how to log in, as a URL says it."""

import re
from dataclasses import dataclass, field
from urllib.parse import unquote

_FORM = re.compile(
    r"(?P<scheme>nats|tls|kafka|kafka\+ssl)://(?:(?P<user>[^:@/]*)(?::(?P<password>[^@/]*))?@)?"
    r"(?P<hosts>(?:[\w.-]+|\[[0-9a-fA-F:.]+\]):\d{1,5}(?:,(?:[\w.-]+|\[[0-9a-fA-F:.]+\]):\d{1,5})*)/?"
)


@dataclass(frozen=True)
class BrokerUrl:
    """A broker's address: several hosts are servers of one cluster. What logs in is never shown."""

    scheme: str
    hosts: tuple[str, ...]
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    @property
    def is_kafka(self) -> bool:
        """Tell whether it is Kafka, or else NATS."""
        return self.scheme.startswith("kafka")

    @property
    def extra(self) -> str:
        """Return the name of the extra that brings its library."""
        return "kafka" if self.is_kafka else "nats"

    @property
    def address(self) -> str:
        """Return where it is, whoever logs in."""
        return f"{self.scheme}://{','.join(self.hosts)}"

    def __str__(self) -> str:
        return self.address.replace("://", "://***@") if self.user else self.address


def parse_broker_url(text: str) -> BrokerUrl:
    """Return the parts of nats://, tls://, kafka:// or kafka+ssl://[user[:password]@]host:port[,host:port].

    The hosts are sorted, so that their order makes no other broker of it. Raises ValueError, which does not repeat it.
    """
    found = _FORM.fullmatch(text)
    if not found:
        raise ValueError(
            "write the broker as nats://host:port, tls://host:port, kafka://host:port[,host:port] or kafka+ssl://…,"
            " with user:password@ before the host where it asks for them, in percent-encoding"
        )
    user, password = found["user"], found["password"]
    return BrokerUrl(
        found["scheme"],
        tuple(sorted(found["hosts"].split(","))),
        unquote(user) if user else None,
        unquote(password) if password else None,
    )
