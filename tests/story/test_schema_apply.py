"""A schema applied by hand holds in every running process, with no change of code and no restart."""

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path

import httpx
import psycopg
import pytest
from support.commands import remit
from support.databases import make_database
from support.processes import ServerProcess, run_remit
from support.world import World, make_world_blocking

from remit.db.embedded import EmbeddedPostgres

SHIPPED = files("remit.authz").joinpath("schema.zed").read_text("utf-8")
CANCEL = "permission cancel = (owner + parent_agent"
WAIT_SECONDS = 10


class Agent(BaseHTTPRequestHandler):
    """Says yes to every call."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        answer = json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": None}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Nothing is logged."""


@pytest.fixture(scope="module")
def installation(
    postgres: EmbeddedPostgres, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path, World, list[ServerProcess], Path]]:
    """A database, a folder, two servers on the database, and the log of the second."""
    folder = tmp_path_factory.mktemp("schemas")
    log = folder / "log"
    with make_database(postgres, template) as dsn:
        agent = ThreadingHTTPServer(("127.0.0.1", 0), Agent)
        threading.Thread(target=agent.serve_forever, daemon=True).start()
        try:
            world = make_world_blocking(dsn, ["echo"])
            with psycopg.connect(dsn) as connection:
                address = f"http://127.0.0.1:{agent.server_port}"
                connection.execute("UPDATE agents SET acp_type = 'async', acp_url = %s", (address,))
            with ExitStack() as stack:
                servers = [
                    stack.enter_context(run_remit(None, log=path, REMIT_DATABASE_URL=dsn, REMIT_LOG_FORMAT="json"))
                    for path in (None, log)
                ]
                yield dsn, folder, world, servers, log
        finally:
            agent.shutdown()
            agent.server_close()


def apply(dsn: str, folder: Path, schema: str, *options: str) -> subprocess.CompletedProcess[str]:
    file = folder / "mine.zed"
    file.write_text(schema)
    return remit("authz", "schema", "apply", str(file), *options, REMIT_DATABASE_URL=dsn)


def call(server: ServerProcess, key: str, method: str, path: str, **more: object) -> httpx.Response:
    headers = {"authorization": "Bearer " + (key or "none")}
    return httpx.request(method, server.url + path, headers=headers, trust_env=False, timeout=30, **more)  # type: ignore[arg-type]


def rpc(server: ServerProcess, key: str, method: str, params: dict[str, object]) -> httpx.Response:
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return call(server, key, "POST", "/agents/name/echo/rpc", json=body)


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not holds():
        assert time.monotonic() < deadline, "the new schema does not hold"
        time.sleep(0.05)


def make_task(servers: list[ServerProcess], world: World, name: str) -> str:
    created = rpc(servers[0], world.alice_key, "task/create", {"name": name})
    id: str = created.json()["result"]["id"]
    share = {"subject_type": "user", "subject_id": "bob", "role": "viewer"}
    assert call(servers[0], world.alice_key, "PUT", f"/tasks/{id}/access", json=share).status_code == 200
    return id


def test_a_viewer_may_cancel_once_a_schema_says_so(
    installation: tuple[str, Path, World, list[ServerProcess], Path],
) -> None:
    dsn, folder, world, servers, _ = installation
    tasks = [make_task(servers, world, f"shared-{number}") for number in range(2)]
    for server, task in zip(servers, tasks, strict=True):
        assert rpc(server, world.bob_key, "task/cancel", {"task_id": task}).status_code == 403
    applied = apply(dsn, folder, SHIPPED.replace(CANCEL, CANCEL.replace("(owner", "(viewer + owner")))
    assert applied.returncode == 0, applied.stderr
    for server, task in zip(servers, tasks, strict=True):

        def cancelled(server: ServerProcess = server, task: str = task) -> bool:
            answer = rpc(server, world.bob_key, "task/cancel", {"task_id": task})
            return answer.status_code == 200 and answer.json()["error"] is None

        until(cancelled)
        assert call(server, world.alice_key, "GET", f"/tasks/{task}").json()["status"] == "CANCELED"
    with psycopg.connect(dsn) as connection:
        kept = connection.execute("SELECT applied_by, applied_at FROM authz_schemas ORDER BY version").fetchall()
    assert [who.split(":")[0] for who, _ in kept] == ["remit", "cli"]
    assert all(when is not None for _, when in kept)


def test_a_schema_without_an_asked_operation_is_refused_and_forced_it_fails_closed(
    installation: tuple[str, Path, World, list[ServerProcess], Path],
) -> None:
    dsn, folder, world, servers, log = installation
    task = make_task(servers, world, "kept")
    lacking = "\n".join(line for line in SHIPPED.splitlines() if CANCEL not in line)
    refused = apply(dsn, folder, lacking)
    assert refused.returncode == 2
    assert "task.cancel" in refused.stderr
    assert apply(dsn, folder, lacking, "--force").returncode == 0
    try:
        for server in servers:

            def unready(server: ServerProcess = server) -> bool:
                return call(server, world.alice_key, "GET", "/readyz").status_code == 503

            until(unready)
            assert "task.cancel" in call(server, world.alice_key, "GET", "/readyz").json()["checks"]["schema"]
            assert call(server, world.alice_key, "GET", f"/tasks/{task}").status_code == 200
            answer = rpc(server, world.alice_key, "task/cancel", {"task_id": task})
            assert answer.status_code == 503, answer.text
            assert call(server, world.alice_key, "GET", f"/tasks/{task}").json()["status"] == "RUNNING"
        said = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
        assert any("task.cancel" in str(line.get("problem")) for line in said)
    finally:
        assert apply(dsn, folder, SHIPPED).returncode == 0
    for server in servers:
        until(lambda server=server: call(server, "", "GET", "/readyz").status_code == 200)  # type: ignore[misc]
        assert rpc(server, world.alice_key, "task/cancel", {"task_id": task}).json()["result"]["status"] == "CANCELED"


def test_a_schema_that_this_release_does_not_understand_answers_nothing(
    installation: tuple[str, Path, World, list[ServerProcess], Path],
) -> None:
    dsn, _, world, servers, _ = installation
    task = make_task(servers, world, "closed")
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "INSERT INTO authz_schemas (source, sha256, applied_by) VALUES ('of a later release', '\\x00', 'later')"
        )
    try:
        for server in servers:
            until(lambda server=server: call(server, "", "GET", "/readyz").status_code == 503)  # type: ignore[misc]
            assert call(server, world.alice_key, "GET", f"/tasks/{task}").status_code == 503
            assert call(server, world.alice_key, "GET", "/tasks").status_code == 503
    finally:
        with psycopg.connect(dsn) as connection:
            connection.execute("DELETE FROM authz_schemas WHERE applied_by = 'later'")
    for server in servers:
        until(lambda server=server: call(server, world.alice_key, "GET", f"/tasks/{task}").status_code == 200)  # type: ignore[misc]
