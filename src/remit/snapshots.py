"""Snapshots of tasks at an address that the caller names: put there by an export, fetched by a rehydration.

Such an address could make the server reach what only the server can. So it is https, without redirects, and what its
name stands for is judged at the moment of the connection, which goes to the very address that was judged: only public
ones, but for hosts that the operator lists.
"""

import asyncio
import re
from ipaddress import IPv6Address
from urllib.parse import urlsplit

import httpcore

from remit.agents.addresses import AddressRefused, CheckedBackend, IPAddress, carried_ipv4
from remit.errors import Invalid, RemitError
from remit.settings import Settings

LONGEST_ADDRESS = 2083
LARGEST_SNAPSHOT = 64 * 1024 * 1024
CONNECT_SECONDS = 5.0
ALL_SECONDS = 60.0
MOST_AT_ONCE = 16


class SnapshotTrouble(RemitError):
    """What the caller named did not take or give the snapshot."""

    status, problem, title = 502, "snapshot-trouble", "The address did not take or give the snapshot"
    retry = False


class Snapshots:
    """The way to addresses that callers name; made when the process starts, closed when it ends."""

    def __init__(self, settings: Settings) -> None:
        self._hosts = frozenset(host.lower() for host in settings.snapshot_hosts)
        self._backend = CheckedBackend(self._refuse)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=httpcore.default_ssl_context(),
            max_connections=MOST_AT_ONCE,
            max_keepalive_connections=0,
            network_backend=self._backend,
        )

    async def put(self, url: str, snapshot: bytes, field: str) -> None:
        """Put a snapshot where the caller wants it.

        Args:
            url: a presigned address.
            snapshot: JSON.
            field: of the request that names the address.

        Raises:
            Invalid: the server does not call the address.
            SnapshotTrouble: it did not take it.
        """
        await self._ask("PUT", url, field, snapshot)

    async def get(self, url: str, field: str) -> bytes:
        """Fetch a snapshot. The arguments and errors are those of `put`."""
        return await self._ask("GET", url, field, None)

    async def aclose(self) -> None:
        """Close what is open."""
        await self._pool.aclose()
        self._backend.close()

    def _refuse(self, host: str, address: IPAddress) -> str | None:
        return None if host.lower() in self._hosts or is_public(address) else "not public"

    async def _ask(self, method: str, url: str, field: str, body: bytes | None) -> bytes:
        check_url(url, field)
        # The host is written out, since httpcore names a port that is the scheme's own, which breaks signatures.
        headers = [("host", urlsplit(url).netloc), ("accept", "application/json")]
        if body is not None:
            headers += [("content-type", "application/json"), ("content-length", str(len(body)))]
        timeout = {"connect": CONNECT_SECONDS, "read": ALL_SECONDS, "write": ALL_SECONDS, "pool": CONNECT_SECONDS}
        answer = b""
        try:
            async with (
                asyncio.timeout(ALL_SECONDS),
                self._pool.stream(
                    method, url, headers=headers, content=body, extensions={"timeout": timeout}
                ) as response,
            ):
                if not 200 <= response.status < 300:
                    raise SnapshotTrouble(f"The address in `{field}` answered with the status {response.status}.")
                async for chunk in response.aiter_stream():
                    answer += chunk
                    if len(answer) > LARGEST_SNAPSHOT:
                        raise SnapshotTrouble(f"What the address in `{field}` answers is too large.")
        except AddressRefused as error:
            raise Invalid([(field, "must be a public address: what it names is not one")]) from error
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, OSError) as error:
            raise SnapshotTrouble(
                f"The address in `{field}` could not be reached, or did not answer in time."
            ) from error
        return answer


def is_public(address: IPAddress) -> bool:
    """Whether an address is one of the internet at large, the IPv4 address that it may carry included."""
    judged = (carried_ipv4(address) if isinstance(address, IPv6Address) else None) or address
    return judged.is_global and not judged.is_multicast


def check_url(url: str, field: str) -> None:
    """Refuse what cannot be a presigned address, before anything is looked up.

    Raises:
        Invalid: it is no plain https URL.
    """
    try:
        # A space, a control character or a backslash is read differently by different URL parsers.
        parts = urlsplit(url) if re.fullmatch(r"[!-\[\]-~]+", url) else None
        fits = parts is not None and parts.scheme == "https" and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits = False
    if not fits or parts is None or "@" in parts.netloc or parts.fragment:
        raise Invalid([(field, "must be an https address without user name, password and fragment")])
