"""Which addresses the server calls on an agent's word: judged when one is registered, and again at each dial.

Agents run beside the server, so loopback and private networks are allowed. What answers for the machine or the cloud
account itself is not: link-local addresses and the metadata services. The name is judged when the address is
registered; the IP addresses that it stands for are judged when it is dialled, and the connection goes to the very
address that was judged, so a name that changes what it resolves to in between gains nothing (DNS rebinding).
"""

import asyncio
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TypeVar
from urllib.parse import SplitResult, urlsplit

import httpcore

from remit.settings import Settings

MAX_ADDRESS_LENGTH = 2048
DOCKER_HOST = "host.docker.internal"
METADATA_NAMES = ("metadata.google.internal", "metadata.goog", "instance-data.ec2.internal")
# Metadata services outside the link-local ranges: AWS and Google on IPv6, Alibaba, Oracle, Azure.
METADATA_ADDRESSES = frozenset(
    map(ip_address, ("fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "192.0.0.192", "168.63.129.16"))
)
THIS_NETWORK = IPv4Network("0.0.0.0/8")
# IPv6 prefixes that carry an IPv4 address in their last 32 bits: mapped (RFC 4291) and NAT64 (RFC 6052).
IPV4_CARRIERS = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))
RESOLVER_THREADS = 32

IPAddress = IPv4Address | IPv6Address
Connected = TypeVar("Connected")
Wire = TypeVar("Wire", bound=asyncio.Protocol)


class AddressRefused(ValueError):
    """The server does not call this address. The message is for whoever registered it and does not repeat it."""


def check_address(url: str, settings: Settings) -> str:
    """Judges an address that an agent registers; no name is resolved here.

    Args:
        url: the base URL of the agent, to which `/api` is appended.
        settings: the process's settings, for `agent_hosts`.

    Returns:
        the address in the form to store: scheme and host in lower case, no slash at the end.

    Raises:
        AddressRefused: it is no plain http(s) URL, or it names a host that the server does not call.
    """
    parts, port = _split(url)
    host = _name(parts)
    if settings.agent_hosts and not any(_matches(host, pattern) for pattern in settings.agent_hosts):
        raise AddressRefused("The address names a host that is not in the server's list of allowed agent hosts.")
    if host in METADATA_NAMES:
        raise AddressRefused("The address names a cloud metadata service.")
    literal = read_ip(host)
    if literal is not None and (kind := classify_refused(literal)):
        raise AddressRefused(f"The address is {kind}, which the server does not call.")
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}{'' if port is None else f':{port}'}{parts.path.rstrip('/')}"


def dial_address(url: str, settings: Settings) -> str:
    """The address to dial for a registered one: judged again, `host.docker.internal` replaced by the override.

    Raises:
        AddressRefused: as `check_address`; the settings may have changed since it was registered.
    """
    checked = check_address(url, settings)
    parts = urlsplit(checked)
    if settings.agent_host_override is None or parts.hostname != DOCKER_HOST:
        return checked
    host = settings.agent_host_override
    shown = f"[{host}]" if ":" in host else host
    return parts._replace(netloc=shown if parts.port is None else f"{shown}:{parts.port}").geturl()


def read_ip(host: str) -> IPAddress | None:
    """The IP address that `host` spells, in any of the forms that resolvers take (`127.1`, `0x7f000001`), else None."""
    try:
        return ip_address(host)
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(host))
    except OSError:
        return None


def classify_refused(address: IPAddress) -> str | None:
    """What kind of refused address this is, or None if it may be called."""
    if isinstance(address, IPv6Address):
        carried = carried_ipv4(address)
        if carried is not None:
            return classify_refused(carried)
    elif address in THIS_NETWORK:
        return "unspecified"
    if address in METADATA_ADDRESSES:
        return "a cloud metadata service"
    if address.is_loopback:
        return None
    kinds = {
        "unspecified": address.is_unspecified,
        "link-local": address.is_link_local,
        "multicast": address.is_multicast,
        "reserved": address.is_reserved,
    }
    return next((kind for kind, applies in kinds.items() if applies), None)


class DialFailed(Exception):
    """No connection was made: the name does not resolve, nobody listens, or it took too long."""


class CheckedResolver:
    """Says to which addresses a name may be dialled, and has them tried.

    Names are resolved in threads of its own: a name server that hangs holds up no other lookup of the process.

    Args:
        refuse: why an address that a host name stands for is not called, None for one that is; by default
            `classify_refused`.
    """

    def __init__(self, refuse: Callable[[str, IPAddress], str | None] | None = None) -> None:
        self._refuse = refuse or (lambda _, address: classify_refused(address))
        self._threads = ThreadPoolExecutor(RESOLVER_THREADS, thread_name_prefix="resolve-agent")

    def close(self) -> None:
        """Lets go of the resolver's threads; a lookup that hangs is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def dial(
        self,
        host: str,
        port: int,
        seconds: float | None,
        connect: Callable[[str, float | None], Awaitable[Connected]],
    ) -> Connected:
        """The connection to the first address of a name that may be called and answers.

        Args:
            host: a name or an address.
            port: the port.
            seconds: for lookup and connection together, None for as long as it takes.
            connect: connects to one address, in its share of the seconds. It raises `OSError` (`TimeoutError` is one)
                where that fails.

        Raises:
            AddressRefused: the name resolves to nothing but refused addresses.
            DialFailed: it does not resolve, or there is no connection.
        """
        loop = asyncio.get_running_loop()
        end = None if seconds is None else loop.time() + seconds
        addresses = await self._resolve(host, port, seconds)
        allowed = [address for address in addresses if self._refuse(host, ip_address(address)) is None]
        if not allowed:
            raise AddressRefused("The host resolves to addresses that the server does not call.")
        for position, address in enumerate(allowed):
            share = None if end is None else max(end - loop.time(), 0) / (len(allowed) - position)
            try:
                return await connect(address, share)
            except OSError as error:
                if position == len(allowed) - 1:
                    raise DialFailed(str(error) or "it took too long") from error
        raise AssertionError("the last address either connects or raises")

    async def _resolve(self, host: str, port: int, seconds: float | None) -> Sequence[str]:
        literal = read_ip(host)
        if literal is not None:
            return [str(literal)]
        lookup = asyncio.get_running_loop().run_in_executor(self._threads, _look_up, host, port)
        try:
            async with asyncio.timeout(seconds):
                return await lookup
        except TimeoutError as error:
            raise DialFailed("name lookup took too long") from error
        except OSError as error:
            raise DialFailed(str(error)) from error


class AgentDialer(CheckedResolver):
    """Connects to what a name resolves to, but only to addresses that may be called.

    Addresses are tried in the resolver's order, each with its share of the time.
    """

    async def connect(
        self, make: Callable[[], Wire], host: str, port: int, seconds: float, tls: ssl.SSLContext | None = None
    ) -> Wire:
        """A connection, as the protocol that `make` makes for it.

        Args:
            make: called for each address that is tried.
            host: a name or an address.
            port: the port.
            seconds: for lookup and connection together.
            tls: encrypts, and holds the other side to the name.

        Raises:
            AddressRefused: the name resolves to nothing but refused addresses.
            DialFailed: there is no connection.
        """

        async def connect(address: str, share: float | None) -> Wire:
            async with asyncio.timeout(share):
                _, made = await asyncio.get_running_loop().create_connection(
                    make, address, port, ssl=tls, server_hostname=host if tls else None
                )
            return made

        return await self.dial(host, port, seconds, connect)


class CheckedBackend(CheckedResolver, httpcore.AsyncNetworkBackend):
    """As `AgentDialer`, for a pool of httpcore."""

    def __init__(self, refuse: Callable[[str, IPAddress], str | None] | None = None) -> None:
        super().__init__(refuse)
        self._backend = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """As httpcore's own, in `timeout` seconds for lookup and connection together.

        Raises:
            AddressRefused: the name resolves to nothing but refused addresses.
            httpcore.ConnectError: it does not resolve, nobody listens, or it took too long.
        """

        async def connect(address: str, share: float | None) -> httpcore.AsyncNetworkStream:
            try:
                return await self._backend.connect_tcp(address, port, share, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                raise OSError(str(error)) from error

        try:
            return await self.dial(host, port, timeout, connect)
        except DialFailed as error:
            raise httpcore.ConnectError(str(error)) from error

    async def connect_unix_socket(
        self,
        path: str,  # noqa: ARG002 - httpcore's interface names it; every socket is refused
        timeout: float | None = None,  # noqa: ARG002 - httpcore passes it; nothing is waited for
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,  # noqa: ARG002 - httpcore passes it; no socket
    ) -> httpcore.AsyncNetworkStream:
        """Nobody is called over a Unix socket.

        Raises:
            AddressRefused: always.
        """
        raise AddressRefused("Nobody is called over a Unix socket.")

    async def sleep(self, seconds: float) -> None:
        """Sleep, as the pool asks for."""
        await asyncio.sleep(seconds)


def _look_up(host: str, port: int) -> Sequence[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]).partition("%")[0] for *_, sockaddr in found))


def carried_ipv4(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address at which a packet to `address` ends up, where it is a carrier of one."""
    if any(address in carrier for carrier in IPV4_CARRIERS):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.sixtofour or (address.teredo[1] if address.teredo else None)


def _split(url: str) -> tuple[SplitResult, int | None]:
    # A space, a control character or a backslash is read differently by different URL parsers.
    if len(url) > MAX_ADDRESS_LENGTH or not re.fullmatch(r"[!-\[\]-~]+", url):
        raise AddressRefused("The address must be a plain ASCII URL without spaces or backslashes.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise AddressRefused("The address is not a URL.") from None
    if parts.scheme not in ("http", "https"):
        raise AddressRefused("The address must start with http:// or https://.")
    if "@" in parts.netloc:
        raise AddressRefused("The address must not hold a user name or password.")
    if "?" in url or "#" in url:
        raise AddressRefused("The address must not have a query or a fragment.")
    if port == 0:
        raise AddressRefused("The address must not name port 0.")
    return parts, port


def _name(parts: SplitResult) -> str:
    host = (parts.hostname or "").removesuffix(".")
    literal = read_ip(host)
    if literal is not None and "%" not in host:
        return str(literal)
    if len(host) > 253 or not re.fullmatch(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*", host):
        raise AddressRefused("The address does not name a host.")
    return host


def _matches(host: str, pattern: str) -> bool:
    pattern = pattern.lower().removesuffix(".")
    if pattern.startswith("*."):
        return host.endswith(pattern[1:])
    return host == pattern
