"""Snapshots that go to, and come from, an address that the caller names; and addresses that are not called."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

import pytest
from support.agent import FakeAgent
from support.certificates import make_certificate
from support.graph import Json, World, make_world, open_seeder, text
from support.server import serve

from remit.errors import Invalid
from remit.settings import Settings
from remit.snapshots import Snapshots, is_public


@dataclass
class Store:
    """An object store behind https: keeps what is put, and gives it again; `status` answers instead."""

    url: str = ""
    kept: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    status: str = "200 OK"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
        except asyncio.IncompleteReadError:
            writer.close()
            return
        method, path, _ = head.split(" ", 2)
        self.asked.append(f"{method} {path}")
        headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        if method == "PUT":
            body = await reader.readexactly(int(headers["content-length"]))
            if self.status.startswith("2"):
                self.kept[path] = body
        answer = self.kept.get(path, b"") if method == "GET" else b""
        writer.write(f"HTTP/1.1 {self.status}\r\nlocation: {self.url}/other\r\nconnection: close\r\n".encode())
        writer.write(f"content-length: {len(answer)}\r\n\r\n".encode() + answer)
        await writer.drain()
        writer.close()


@pytest.fixture
async def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Store]:
    file = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file)
    made = Store()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=context)
    made.url = f"https://localhost:{server.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        server.close()


@pytest.fixture
async def world(database: str, store: Store) -> AsyncIterator[World]:
    """A world on a server that may call `localhost`; it is made after the store, whose certificate it trusts."""
    async with serve(database, snapshot_hosts=["localhost"]) as server, open_seeder(database, server.url) as seed:
        yield await make_world(seed)


async def make_task(world: World, fake: FakeAgent) -> Json:
    agent = await world.make_agent(fake.url, "async")
    task = await world.alice.make_task(agent)
    for words in ("a", "b"):
        await agent.post("/messages", {"task_id": task["id"], "content": text(words)})
    await agent.post("/states", {"task_id": task["id"], "agent_id": agent.id, "state": {"n": 1}})
    assert (await world.alice.post(f"/tasks/{task['id']}/complete", {})).status_code == 200
    return task


async def test_a_snapshot_goes_to_an_address_and_comes_back_from_it(
    world: World, store: Store, fake: FakeAgent
) -> None:
    task = await make_task(world, fake)
    path = f"/tasks/{task['id']}"
    before = (await world.alice.get(f"{path}/export")).json()
    presigned = f"{store.url}/bucket/one?signature=a%2Fb&expires=1"
    answer = await world.alice.post(f"{path}/export", {"upload_url": presigned})
    assert answer.status_code == 200, answer.text
    (kept,) = store.kept.values()
    assert json.loads(kept) == before
    assert answer.json() == {
        "task_id": task["id"],
        "upload_url": presigned,
        "uploaded_bytes": len(kept),
        "messages_count": 2,
        "task_states_count": 1,
    }
    assert (await world.alice.post(f"{path}/clean", {"force": True})).status_code == 200
    body = {"task_id": task["id"], "snapshot_url": presigned}
    assert (await world.alice.post(f"{path}/rehydrate", body)).status_code == 204
    assert (await world.alice.get(f"{path}/export")).json() == before
    assert store.asked == [f"{verb} /bucket/one?signature=a%2Fb&expires=1" for verb in ("PUT", "GET")]


async def test_what_the_address_does_wrong_changes_nothing(world: World, store: Store, fake: FakeAgent) -> None:
    task = await make_task(world, fake)
    path = f"/tasks/{task['id']}"
    assert (await world.alice.post(f"{path}/clean", {"force": True})).status_code == 200
    for status in ("403 Forbidden", "302 Found", "500 No"):
        store.status = status
        put = await world.alice.post(f"{path}/export", {"upload_url": f"{store.url}/x"})
        got = await world.alice.post(f"{path}/rehydrate", {"task_id": task["id"], "snapshot_url": f"{store.url}/x"})
        assert (put.status_code, got.status_code) == (502, 502), status
        assert put.headers["x-should-retry"] == "false"
    assert not [one for one in store.asked if "other" in one], "no redirect is followed"
    store.status = "200 OK"
    another = {"task_id": "00000000-0000-7000-8000-000000000000", "messages": [], "task_states": []}
    for rubbish in (b"", b"<html>", b"[]", b'{"messages": 1}', json.dumps(another).encode()):
        store.kept["/x"] = rubbish
        got = await world.alice.post(f"{path}/rehydrate", {"task_id": task["id"], "snapshot_url": f"{store.url}/x"})
        assert got.status_code == 400, (rubbish, got.text)
    assert (await world.alice.get(path)).json()["cleaned_at"] is not None
    nobody_there = await world.alice.post(f"{path}/export", {"upload_url": "https://localhost:1/x"})
    assert nobody_there.status_code == 502


async def test_nothing_is_called_for_who_may_not(world: World, store: Store, fake: FakeAgent) -> None:
    task = await make_task(world, fake)
    path, body = f"/tasks/{task['id']}", {"task_id": task["id"], "snapshot_url": f"{store.url}/x"}
    assert (await world.bob.post(f"{path}/export", {"upload_url": f"{store.url}/x"})).status_code == 404
    assert (await world.bob.post(f"{path}/rehydrate", body)).status_code == 404
    await world.alice.share(task, world.bob, "viewer")
    assert (await world.bob.post(f"{path}/rehydrate", body)).status_code == 403
    both = {**body, "messages": [{"task_id": task["id"], "content": text("x")}]}
    assert (await world.alice.post(f"{path}/rehydrate", both)).status_code == 422
    assert store.asked == []


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/x",
        "ftp://example.com/x",
        "https://user:pw@example.com/x",
        "https://example.com/x#y",
        "https://exa mple.com/",
        "https://example.com\\@127.0.0.1/",
        "https:///x",
        "https://127.0.0.1/x",
        "https://127.1/x",
        "https://[::1]/x",
        "https://10.0.0.7/x",
        "https://192.168.1.1/x",
        "https://169.254.169.254/latest",
        "https://100.64.0.1/x",
        "https://[::ffff:10.0.0.7]/x",
        "https://[64:ff9b::a00:7]/x",
        "https://[fd00::1]/x",
        "https://224.0.0.1/x",
        "https://0.0.0.0/x",
        "https://localhost/x",
    ],
)
async def test_an_address_that_the_server_does_not_call(url: str) -> None:
    """Where no host is listed: one's own machine and network, however they are spelled, and what is no https."""
    snapshots = Snapshots(Settings())
    try:
        with pytest.raises(Invalid) as refused:
            await snapshots.put(url, b"{}", "body.upload_url")
    finally:
        await snapshots.aclose()
    assert refused.value.errors[0][0] == "body.upload_url"


def test_public_addresses_are_called() -> None:
    for address in ("93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946"):
        assert is_public(ip_address(address))
