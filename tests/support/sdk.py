"""Agents written with the published SDK, in processes of their own, behind two server processes."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from agentex import Agentex, AsyncAgentex
from support.alternate import Alternating, AsyncAlternating
from support.databases import make_data_dir
from support.processes import clean_environment, free_port, run_remit, wait_until_answering
from support.redis_server import run_redis
from support.world import World, make_world_blocking

from remit.db.embedded import EmbeddedPostgres

AGENTS = Path(__file__).parent.parent / "story" / "agents"
START_SECONDS = 180


@dataclass(frozen=True)
class Installation:
    """Two server processes over one database, and the agents that serve there.

    Attributes:
        urls: of the servers; the agents know the last one.
        world: the people, and the agents' keys.
        clients: closes what tests opened.
    """

    urls: list[str]
    world: World
    clients: ExitStack

    def client(self, key: str) -> Any:  # what is tested is the wire, not how the client types its unions
        """A published client; its requests go to one server and the other in turn."""
        http = httpx.Client(transport=Alternating(self.urls), timeout=60)
        return self.clients.enter_context(Agentex(base_url=self.urls[0], api_key=key, http_client=http))

    def async_client(self, key: str) -> Any:  # as above
        """As `client`; the caller closes it."""
        http = httpx.AsyncClient(transport=AsyncAlternating(self.urls), timeout=60)
        return AsyncAgentex(base_url=self.urls[0], api_key=key, http_client=http)


@contextmanager
def run_agents(url: str, redis_url: str, agents: Mapping[str, str], keys: Mapping[str, str]) -> Iterator[None]:
    """Agent processes that serve until the end of the block.

    Args:
        url: the server that they know.
        redis_url: where they publish.
        agents: for each name, the module of `AGENTS` that serves as `acp`, as `type:module`.
        keys: of the agents, by name.
    """
    ports = {name: free_port() for name in agents}
    starts = [
        {
            "module": served.partition(":")[2],
            "environment": {
                "AGENT_NAME": name,
                "AGENT_API_KEY": keys[name],
                "ACP_TYPE": served.partition(":")[0],
                "ACP_PORT": str(ports[name]),
            },
        }
        for name, served in agents.items()
    ]
    environment = clean_environment(
        AGENTEX_BASE_URL=url,
        ACP_URL="http://127.0.0.1",
        AGENT_NAME="none",
        REDIS_URL=redis_url,
        LITELLM_LOCAL_MODEL_COST_MAP="True",
    )
    environment.pop("PYTHONPATH", None)
    command = [os.environ["REMIT_SDK_PYTHON"], "start.py", json.dumps(starts)]
    process = subprocess.Popen(command, env=environment, cwd=AGENTS, stdout=subprocess.DEVNULL, stderr=sys.stderr)
    try:
        for port in ports.values():
            wait_until_answering(f"http://127.0.0.1:{port}/healthz", process, START_SECONDS)
        yield
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def install(agents: Mapping[str, str]) -> Iterator[Installation]:
    """An installation with these agents, as `run_agents` takes them."""
    with ExitStack() as stack:
        data_dir = stack.enter_context(make_data_dir())
        postgres = EmbeddedPostgres.start_blocking(data_dir)
        stack.callback(postgres.stop_blocking)
        redis = stack.enter_context(run_redis())
        servers = [stack.enter_context(run_remit(data_dir, REMIT_REDIS_URL=redis.url)) for _ in range(2)]
        world = make_world_blocking(postgres.dsn, agents=tuple(agents))
        stack.enter_context(run_agents(servers[-1].url, redis.url, agents, world.agent_keys))
        clients = stack.enter_context(ExitStack())
        yield Installation([server.url for server in servers], world, clients)


def text(content: str) -> dict[str, Any]:
    """What a user says."""
    return {"type": "text", "author": "user", "content": content}


def wait_for(what: Callable[[], Any], seconds: float = 20) -> Any:
    """What the function gives once it gives something."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, "what was waited for did not come"
        time.sleep(0.05)
    return found
