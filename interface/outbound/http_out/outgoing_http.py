"""Requests to URLs that others have chosen: never into the own network, no redirects, no long answers."""

import asyncio
import socket
from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

import aiohttp
from aiohappyeyeballs import AddrInfoType
from yarl import URL

from application.subscriptions.push import DeliveryRejected

_LONGEST_ANSWER = 64 * 1024
# RFC 6052: an IPv4 address inside, that a translator in the network would connect to.
_NAT64 = IPv6Network("64:ff9b::/96")


class OutgoingHttp:
    """Sends by POST.

    private_hosts: hosts that may have addresses of the own network; any_host: all may. timeout_seconds: for the whole of a request.
    Addresses are checked when the connection is made, to that very address, so no answer of the DNS comes in between.
    """

    def __init__(
        self, private_hosts: Collection[str] = (), *, any_host: bool = False, timeout_seconds: float
    ) -> None:
        self._private_hosts = private_hosts
        self._any_host = any_host
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._timeout_seconds = timeout_seconds
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

    async def post(self, url: str, headers: Mapping[str, str], content: bytes) -> None:
        """Send, until it is taken by an answer with a 2xx. Raises Refused for any other one, DeliveryRejected for none."""
        try:
            async with self._session(url).post(
                URL(url), data=content, headers=headers, allow_redirects=False
            ) as response:
                _check(response, await _beginning(response))
        except TimeoutError:
            raise DeliveryRejected(f"no answer within {self._timeout_seconds:g} seconds") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise DeliveryRejected(_said(error)) from None

    async def close(self) -> None:
        """Give back the connections."""
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()

    def _session(self, url: str) -> aiohttp.ClientSession:
        private = self._any_host or URL(url).host in self._private_hosts
        if private not in self._sessions:
            connector = aiohttp.TCPConnector(
                limit=0,  # each subscription has one request at a time; one that hangs holds up no other
                resolver=aiohttp.AsyncResolver(),
                ttl_dns_cache=30,
                socket_factory=_socket if private else _public_socket,
            )
            self._sessions[private] = aiohttp.ClientSession(
                connector=connector, timeout=self._timeout, cookie_jar=aiohttp.DummyCookieJar()
            )
        return self._sessions[private]


class Refused(DeliveryRejected):
    """An answer that is no 2xx."""

    def __init__(self, said: str, status: int, content: bytes, *, retry_after: timedelta) -> None:
        super().__init__(said, gone=status == HTTPStatus.GONE, retry_after=retry_after)
        self.status = status
        self.content = content


class AddressForbidden(OSError):
    """The host has an address of the own network."""

    def __init__(self) -> None:
        super().__init__("the host has an address of a private network; only the operator can allow it")


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Tell whether an address is one of the open network, whatever IPv4 address it may hide."""
    if isinstance(address, IPv6Address):
        hidden = address.ipv4_mapped or address.sixtofour or (address.teredo and address.teredo[1])
        if address in _NAT64:
            hidden = IPv4Address(int(address) & 0xFFFF_FFFF)
        if hidden:
            return is_public(hidden)
    return address.is_global and not address.is_multicast


def _public_socket(info: AddrInfoType) -> socket.socket:
    if not is_public(ip_address(str(info[4][0]).partition("%")[0])):
        raise AddressForbidden
    return _socket(info)


def _socket(info: AddrInfoType) -> socket.socket:
    family, kind, protocol, _, _ = info
    return socket.socket(family, kind, protocol)


async def _beginning(response: aiohttp.ClientResponse) -> bytes:
    """Read the body up to the bound. Its head was the answer: a body that breaks off or never ends changes nothing."""
    read = b""
    with suppress(aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError):
        while len(read) < _LONGEST_ANSWER and (
            more := await response.content.read(_LONGEST_ANSWER - len(read))
        ):
            read += more
    if not response.content.at_eof():
        response.close()
    return read


def _check(response: aiohttp.ClientResponse, content: bytes) -> None:
    status = response.status
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return
    redirects = HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST
    raise Refused(
        f"answered {status}" + (": redirects are not followed" if redirects else ""),
        status,
        content,
        retry_after=_retry_after(response.headers.get("Retry-After")),
    )


def _retry_after(value: str | None) -> timedelta:
    if value is None:
        return timedelta()
    with suppress(ValueError, OverflowError, TypeError):
        if value.isdecimal():
            return timedelta(seconds=int(value[:9]))
        return max(timedelta(), parsedate_to_datetime(value) - datetime.now(UTC))
    return timedelta()


def _said(error: Exception) -> str:
    """Return what went wrong without the URL, which may hold a secret, and without what the DNS knows."""
    match error:
        case aiohttp.ClientConnectorDNSError():
            return "the host is not known to the DNS"
        case aiohttp.ClientConnectorCertificateError():
            return "its certificate is not valid for the host, or not known here"
        case aiohttp.ClientConnectorError(os_error=AddressForbidden() as forbidden):
            return str(forbidden)
        case aiohttp.ClientConnectorError():
            return "no connection"
        case aiohttp.InvalidURL() | ValueError():
            return "the URL cannot be used"
        case _:
            return f"the connection broke off ({type(error).__name__})"
