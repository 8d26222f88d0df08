"""Requests to URLs that others chose: no private addresses, no redirects, bounded responses."""

import asyncio
import socket
from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from ipaddress import ip_address

import aiohttp
from aiohappyeyeballs import AddrInfoType
from yarl import URL

from application.subscriptions.push_ports import DeliveryRejected
from interface.outbound.http_out.public_address import is_public

_MAX_RESPONSE_BYTES = 64 * 1024


class OutgoingHttp:
    """Sends by POST.

    private_hosts: hosts that may have private addresses; any_host: all may. timeout_seconds: of a complete request.
    The address is checked when the socket is created for it, so DNS rebinding cannot bypass the check.
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
        """Send the content. Raises Refused for a response other than 2xx, DeliveryRejected for no response."""
        try:
            async with self._session(url).post(
                URL(url), data=content, headers=headers, allow_redirects=False
            ) as response:
                _check(response, await _read_limited(response))
        except TimeoutError:
            raise DeliveryRejected(f"no response within {self._timeout_seconds:g} seconds") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise DeliveryRejected(_describe(error)) from None

    async def close(self) -> None:
        """Close the connections."""
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()

    def _session(self, url: str) -> aiohttp.ClientSession:
        private = self._any_host or URL(url).host in self._private_hosts
        if private not in self._sessions:
            connector = aiohttp.TCPConnector(
                limit=0,  # each subscription has one request at a time, which must not delay those of others
                resolver=aiohttp.AsyncResolver(),
                ttl_dns_cache=30,
                socket_factory=_socket if private else _public_socket,
            )
            self._sessions[private] = aiohttp.ClientSession(
                connector=connector, timeout=self._timeout, cookie_jar=aiohttp.DummyCookieJar()
            )
        return self._sessions[private]


class Refused(DeliveryRejected):
    """The response is not 2xx."""

    def __init__(self, message: str, status: int, content: bytes, *, retry_after: timedelta) -> None:
        super().__init__(message, gone=status == HTTPStatus.GONE, retry_after=retry_after)
        self.status = status
        self.content = content


class AddressForbidden(OSError):
    """The host has a private address."""

    def __init__(self) -> None:
        super().__init__("the host has a private address, which only the operator can allow")


def _public_socket(info: AddrInfoType) -> socket.socket:
    if not is_public(ip_address(str(info[4][0]))):
        raise AddressForbidden
    return _socket(info)


def _socket(info: AddrInfoType) -> socket.socket:
    family, kind, protocol, _, _ = info
    return socket.socket(family, kind, protocol)


async def _read_limited(response: aiohttp.ClientResponse) -> bytes:
    """Read the body up to the limit. The status decides: a truncated or endless body is no error."""
    read = b""
    with suppress(aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError):
        while len(read) < _MAX_RESPONSE_BYTES and (
            more := await response.content.read(_MAX_RESPONSE_BYTES - len(read))
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
        f"responded with {status}" + (": redirects are not followed" if redirects else ""),
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


def _describe(error: Exception) -> str:
    """Return a description without the URL, which may contain a secret, and without resolved addresses."""
    match error:
        case aiohttp.ClientConnectorDNSError():
            return "the host name cannot be resolved"
        case aiohttp.ClientConnectorCertificateError():
            return "the certificate is invalid or not trusted"
        case aiohttp.ClientConnectorError(os_error=AddressForbidden() as forbidden):
            return str(forbidden)
        case aiohttp.ClientConnectorError():
            return "cannot connect"
        case aiohttp.InvalidURL() | ValueError():
            return "the URL is invalid"
        case _:
            return f"the connection was lost ({type(error).__name__})"
