"""Requests to URLs that others chose: no private addresses, no redirects, bounded responses."""

import asyncio
import socket
from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from io import BytesIO
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.request import getproxies, proxy_bypass

from application.subscriptions.push_ports import DeliveryRejected
from interface.lazy import lazy
from interface.outbound.http_out.public_address import is_public

if TYPE_CHECKING:
    import aiohttp
    import yarl
    from aiohappyeyeballs import AddrInfoType
else:
    aiohttp, yarl = lazy("aiohttp"), lazy("yarl")

_MAX_RESPONSE_BYTES = 64 * 1024


class OutgoingHttp:
    """Sends requests and follows no redirect.

    private_hosts: hosts that may have private addresses. timeout_seconds: of a complete request. proxies: use the proxy of
    the environment (HTTPS_PROXY, HTTP_PROXY, NO_PROXY). The address is checked when the socket is created for it, so DNS
    rebinding cannot bypass the check.
    """

    def __init__(
        self,
        private_hosts: Collection[str] = (),
        *,
        timeout_seconds: float,
        max_response_bytes: int = _MAX_RESPONSE_BYTES,
        proxies: bool = False,
    ) -> None:
        self._private_hosts = private_hosts
        self._timeout_seconds = timeout_seconds
        self._max_response_bytes = max_response_bytes
        self._proxies = proxies
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

    async def post(self, url: str, headers: Mapping[str, str], content: bytes) -> bytes:
        """Send the content; otherwise as `request`."""
        return await self.request("POST", url, headers, content)

    async def request(
        self, method: str, url: str, headers: Mapping[str, str], content: bytes | None = None
    ) -> bytes:
        """Send a request and return the response, truncated after the limit.

        Raises Refused for a response other than 2xx, DeliveryRejected for every other fault of the URL, the connection or
        the response. The caller is the boundary for the other exceptions of a parser.
        """
        # In chunks: a large body in one write would block the event loop.
        body = BytesIO(content) if content else content
        try:
            proxy = _proxy_of(yarl.URL(url)) if self._proxies else None
            async with self._session(url).request(
                method, yarl.URL(url), data=body, headers=headers, allow_redirects=False, proxy=proxy
            ) as response:
                received = await _read_limited(response, self._max_response_bytes)
                _check(response, received)
                return received
        except DeliveryRejected:
            raise
        except TimeoutError:
            raise DeliveryRejected(f"no response within {self._timeout_seconds:g} seconds") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise DeliveryRejected(_describe(error)) from None

    async def close(self) -> None:
        """Close the connections."""
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()

    def _session(self, url: str) -> "aiohttp.ClientSession":
        private = yarl.URL(url).host in self._private_hosts
        if private not in self._sessions:
            connector = aiohttp.TCPConnector(
                limit=0,  # each subscription has one request at a time, which must not delay those of others
                resolver=aiohttp.AsyncResolver(),
                ttl_dns_cache=30,
                socket_factory=_socket if private else _public_socket,
            )
            self._sessions[private] = aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=self._timeout_seconds),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"Accept-Encoding": "identity"},
                auto_decompress=False,  # a compressed response can be larger than the limit
            )
        return self._sessions[private]


def to_named_host(
    url: str, *, timeout_seconds: float, max_response_bytes: int = _MAX_RESPONSE_BYTES, proxies: bool = False
) -> OutgoingHttp:
    """Return a client for the URL of a setting: the operator has named its host, which may have a private address."""
    host = None
    with suppress(ValueError):  # the request reports an invalid URL
        host = yarl.URL(url).host
    return OutgoingHttp(
        (host or "",),
        timeout_seconds=timeout_seconds,
        max_response_bytes=max_response_bytes,
        proxies=proxies,
    )


async def request_once(
    method: str,
    url: str,
    headers: Mapping[str, str],
    content: bytes | None = None,
    *,
    timeout_seconds: float,
    max_response_bytes: int,
) -> bytes:
    """Send a request to the URL of a setting by a separate client, through the proxy of the environment.

    Raises OSError for each fault that `OutgoingHttp.request` reports; the message does not have the URL.
    """
    http = to_named_host(
        url, timeout_seconds=timeout_seconds, max_response_bytes=max_response_bytes, proxies=True
    )
    try:
        return await http.request(method, url, headers, content)
    except DeliveryRejected as error:
        raise OSError(str(error)) from None
    finally:
        await http.close()


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


def _proxy_of(url: "yarl.URL") -> str | None:
    """Return the proxy of the environment. `trust_env` of aiohttp would also send the credentials of ~/.netrc."""
    if not url.host or proxy_bypass(f"{url.host}:{url.port}"):
        return None
    return getproxies().get(url.scheme)


def _public_socket(info: "AddrInfoType") -> socket.socket:
    if not is_public(ip_address(str(info[4][0]))):
        raise AddressForbidden
    return _socket(info)


def _socket(info: "AddrInfoType") -> socket.socket:
    family, kind, protocol, _, _ = info
    return socket.socket(family, kind, protocol)


async def _read_limited(response: "aiohttp.ClientResponse", limit: int) -> bytes:
    """Read the body up to the limit. The status decides: a truncated or endless body is no error."""
    read = b""
    with suppress(aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError):
        while len(read) < limit and (more := await response.content.read(limit - len(read))):
            read += more
    if not response.content.at_eof():
        response.close()
    return read


def _check(response: "aiohttp.ClientResponse", content: bytes) -> None:
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
    with suppress(Exception):  # a parser can raise any exception for a foreign header
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
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError() | ValueError():
            return "the URL is invalid"
        case _:
            return f"the connection was lost ({type(error).__name__})"
