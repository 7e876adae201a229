"""`remit auth serve` as a process of its own, and a server that asks it by the contract."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from support.graph import Party
from support.processes import clean_environment, free_port, wait_until_answering

SECRET_KEY = "a secret key that only tests know, 1234567890"

Json = dict[str, Any]
# What the peer does not pass on.
_DROPPED = ("content-length", "host", "connection", "transfer-encoding", "expect")


@dataclass(frozen=True)
class ProviderProcess:
    """A running `remit auth serve`."""

    url: str
    dsn: str
    process: subprocess.Popen[bytes]


@contextmanager
def run_provider(
    dsn: str, *, arguments: tuple[str, ...] = (), log: Path | None = None, **settings: str
) -> Iterator[ProviderProcess]:
    """`remit auth serve` on a migrated database, until the end of the block."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = clean_environment(
        **{"REMIT_DATABASE_URL": dsn, "REMIT_SECRET_KEY": SECRET_KEY, "REMIT_AUTH_PORT": str(port), **settings}
    )
    output = log.open("ab") if log else subprocess.DEVNULL
    process = subprocess.Popen(
        [sys.executable, "-m", "remit", "auth", "serve", *arguments],
        env=environment,
        stdout=output,
        stderr=subprocess.STDOUT,
    )
    try:
        wait_until_answering(f"{url}/readyz", process)
        yield ProviderProcess(url, dsn, process)
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if log:
            output.close()  # type: ignore[union-attr]  # a file, since `log` was given


@dataclass
class Peer:
    """A server that has the provider's address: it passes on headers, and principals as it got them."""

    http: httpx.AsyncClient
    prefix: str = ""

    async def post(self, path: str, body: Any = None, headers: dict[str, str] | None = None) -> httpx.Response:
        return await self.http.post(f"{self.prefix}{path}", json=body, headers=headers)

    async def authn(self, headers: dict[str, str]) -> httpx.Response:
        passed = {name.lower(): value for name, value in headers.items() if name.lower() not in _DROPPED}
        return await self.http.post(f"{self.prefix}/v1/authn", headers=passed)

    async def principal(self, party: Party) -> Json:
        response = await self.authn({"Authorization": f"Bearer {party.key}"})
        assert response.status_code == 200, response.text
        principal: Json = response.json()
        return principal

    async def check(self, principal: Any, type: str, selector: str, operation: str) -> httpx.Response:
        return await self.ask("check", principal, type, selector, operation)

    async def ask(self, verb: str, principal: Any, type: str, selector: str, operation: str) -> httpx.Response:
        resource = {"type": type, "selector": selector}
        return await self.post(
            f"/v1/authz/{verb}", {"principal": principal, "resource": resource, "operation": operation}
        )

    async def may(self, principal: Any, type: str, selector: str, operation: str) -> bool:
        response = await self.check(principal, type, selector, operation)
        assert response.status_code in (200, 403), response.text
        if response.status_code == 200:
            assert response.json() == {"success": True}
        else:
            assert response.json()["message"]
        return response.status_code == 200

    async def register(
        self, principal: Any, type: str, selector: str, parent: tuple[str, str] | None = None
    ) -> httpx.Response:
        above = {"type": parent[0], "selector": parent[1]} if parent else None
        body = {"principal": principal, "resource": {"type": type, "selector": selector}, "parent": above}
        return await self.post("/v1/authz/register", body)

    async def deregister(self, principal: Any, type: str, selector: str) -> httpx.Response:
        body = {"principal": principal, "resource": {"type": type, "selector": selector}}
        return await self.post("/v1/authz/deregister", body)

    async def search(self, principal: Any, type: str, operation: str = "read") -> set[str]:
        body = {"principal": principal, "filter_resource": type, "filter_operation": operation}
        response = await self.post("/v1/authz/search", body)
        assert response.status_code == 200, response.text
        answer = response.json()
        assert set(answer) == {"items", "success"}
        assert len(answer["items"]) == len(set(answer["items"]))
        return set(answer["items"])


def assert_done(response: httpx.Response) -> None:
    """Exactly 200 with a JSON body: what the peer takes for a yes."""
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("application/json")
    assert response.json() == {"success": True}


def assert_refused(response: httpx.Response, status: int = 403) -> str:
    """A refusal whose message the peer finds where it looks first."""
    assert response.status_code == status, response.text
    message: str = response.json()["message"]
    assert message
    return message
