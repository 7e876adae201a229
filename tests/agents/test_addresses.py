"""Which addresses of agents the server calls."""

import asyncio
import socket

import pytest

from remit.agents.addresses import AddressRefused, AgentDialer, DialFailed, check_address, dial_address
from remit.settings import Settings

ALLOWED = {
    "http://127.0.0.1:8000": "http://127.0.0.1:8000",
    "http://localhost:8000/": "http://localhost:8000",
    "HTTPS://Agents.Example.com.:8443/Team/one/": "https://agents.example.com:8443/Team/one",
    "http://10.1.2.3": "http://10.1.2.3",
    "http://192.168.0.7:80": "http://192.168.0.7:80",
    "http://100.64.0.1:80": "http://100.64.0.1:80",
    "http://[::1]:8000": "http://[::1]:8000",
    "http://[fd12:3456::1]:8000": "http://[fd12:3456::1]:8000",
    "http://[::ffff:127.0.0.1]:8000": "http://[::ffff:7f00:1]:8000",
    "http://127.1:8000": "http://127.0.0.1:8000",
    "http://host.docker.internal:8000": "http://host.docker.internal:8000",
    "http://my_agent:8000": "http://my_agent:8000",
}

REFUSED = [
    *(
        "",
        "agent:8000",
        "//agent:8000",
        "ftp://agent",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "http://",
        "http:///x",
    ),
    *(
        "http://user:pass@agent",
        "http://user@agent",
        "http://agent@",
        "http://agent/?a=b",
        "http://agent/#f",
        "http://a?",
    ),
    *("http://agent:0", "http://agent:65536", "http://agent:x", "http://a b", "http://a\\@b", "http://a\n", "http://ä"),
    *(
        "http://agent%00",
        "http://a..b",
        "http://[::1",
        "http://[fe80::1%25eth0]",
        "http://" + "a" * 64,
        "http://a/" + "b" * 2048,
    ),
    *(
        "http://169.254.169.254",
        "http://169.254.1.1:80",
        "http://0xa9fea9fe",
        "http://2852039166",
        "http://169.254.43518",
    ),
    *("http://0251.0376.0251.0376", "http://169.254.169.254.", "http://[fe80::1]", "http://[febf::1]"),
    *("http://[::ffff:169.254.169.254]", "http://[64:ff9b::169.254.169.254]", "http://[2002:a9fe:a9fe::1]"),
    *("http://metadata.google.internal", "http://METADATA.google.internal.", "http://100.100.100.200"),
    *("http://[fd00:ec2::254]", "http://168.63.129.16", "http://192.0.0.192"),
    *("http://0.0.0.0", "http://0", "http://0.1.2.3", "http://[::]", "http://[::ffff:0.0.0.0]"),
    *("http://224.0.0.1", "http://239.1.1.1", "http://[ff02::1]", "http://240.0.0.1", "http://255.255.255.255"),
    *("http://[::7f00:1]",),
]


def make_settings(hosts: list[str] | None = None, override: str | None = None) -> Settings:
    return Settings(agent_hosts=hosts or [], agent_host_override=override)


@pytest.mark.parametrize(("url", "stored"), ALLOWED.items(), ids=ALLOWED.keys())
def test_addresses_that_are_called(url: str, stored: str) -> None:
    assert check_address(url, make_settings()) == stored
    assert check_address(stored, make_settings()) == stored


@pytest.mark.parametrize("url", REFUSED)
def test_addresses_that_are_not_called(url: str) -> None:
    with pytest.raises(AddressRefused) as raised:
        check_address(url, make_settings())
    assert str(raised.value).startswith(("The address must", "The address names", "The address is", "The address does"))


@pytest.mark.parametrize("host", ["a.example.com", "A.Example.com", "x.pool.example.com", "10.0.0.5", "[fd00::1]"])
def test_hosts_on_the_list(host: str) -> None:
    hosts = ["A.example.com", "*.pool.example.com", "10.0.0.5", "fd00::1"]
    assert check_address(f"http://{host}", make_settings(hosts)) == f"http://{host.lower()}"


@pytest.mark.parametrize(
    "host",
    ["example.com", "b.example.com", "pool.example.com", "xpool.example.com", "a.example.com.evil.org", "127.0.0.1"],
)
def test_hosts_not_on_the_list(host: str) -> None:
    with pytest.raises(AddressRefused, match="list of allowed agent hosts"):
        check_address(f"http://{host}", make_settings(["a.example.com", "*.pool.example.com"]))


def test_the_list_does_not_open_the_metadata_service() -> None:
    for host in ("169.254.169.254", "metadata.google.internal"):
        with pytest.raises(AddressRefused):
            check_address(f"http://{host}", make_settings([host]))


@pytest.mark.parametrize(
    ("override", "dialled"),
    [
        (None, "http://host.docker.internal:8000/a"),
        ("127.0.0.1", "http://127.0.0.1:8000/a"),
        ("::1", "http://[::1]:8000/a"),
    ],
)
def test_the_docker_host_is_replaced_when_dialled(override: str | None, dialled: str) -> None:
    settings = make_settings(override=override)
    assert dial_address("http://host.docker.internal:8000/a", settings) == dialled
    assert dial_address("http://other:8000/a", settings) == "http://other:8000/a"


class Wire(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport


async def test_a_connection_goes_to_the_first_address_that_is_allowed_and_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def resolve(*_: object, **__: object) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        return [(0, 0, 0, "", (address, 0)) for address in ("fe80::1", "169.254.1.1", "127.0.0.2", "127.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    dialer = AgentDialer()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        wire = await dialer.connect(Wire, "agent.test", listener.getsockname()[1], 20)
        assert wire.transport.get_extra_info("peername") == listener.getsockname()
        wire.transport.close()
    dialer.close()


@pytest.mark.parametrize("host", ["169.254.169.254", "0xa9fea9fe", "fe80::1%lo", "0.0.0.0"])
async def test_a_refused_address_is_not_dialled_even_unjudged(host: str) -> None:
    dialer = AgentDialer()
    with pytest.raises(AddressRefused):
        await dialer.connect(Wire, host, 80, 20)
    dialer.close()


async def test_a_name_that_does_not_resolve_is_a_connect_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    dialer = AgentDialer()
    with pytest.raises(DialFailed):
        await dialer.connect(Wire, "nowhere.test", 80, 20)
    dialer.close()
