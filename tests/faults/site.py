"""An installation of real processes: a server and a worker behind proxies, a second server without, an engine."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import asyncpg
from support.databases import make_data_dir
from support.graph import Seeder, open_seeder
from support.processes import clean_environment, free_port

from faults.beside import Beside, EngineName, open_beside
from faults.gate import Fault, Gate
from faults.proxy import Proxy
from faults.remit_process import RemitProcess
from remit.db.embedded import EmbeddedPostgres
from remit.db.pool import UNREACHABLE
from remit.migrations.run import upgrade
from remit.settings import Settings

PLANTED = Path(__file__).parent / "planted"
SECRET_KEY = "a secret key that only fault runs know, 1234567890"
_FAST = {"fsync": "off", "synchronous_commit": "on", "full_page_writes": "off"}


@dataclass
class Site:
    """What a run works on.

    Attributes:
        beside: the engine elsewhere.
        gate: decides about messages.
        server: whose connections pass through proxies.
        reader: a second server, which has no proxies.
        worker: has proxies of its own.
        seed: makes tenants and people, without proxies.
        environment: of commands without proxies.
        postgres: the database, None where it is not the site's own.
        proxies: by kind.
    """

    beside: Beside
    gate: Gate
    server: RemitProcess
    reader: RemitProcess
    worker: RemitProcess
    seed: Seeder
    environment: dict[str, str]
    dsn: str
    postgres: EmbeddedPostgres | None
    proxies: dict[str, Proxy] = field(default_factory=dict)
    extra: list[RemitProcess] = field(default_factory=list)
    _connection: "asyncpg.Connection[asyncpg.Record] | None" = None

    @property
    def engine(self) -> EngineName:
        """The kind of engine elsewhere."""
        return self.beside.engine

    async def advance(self, seconds: float) -> None:
        """Move the clock by which deliveries are timed: everything recorded so far is older by so much.

        What a transaction has in its hands is left alone: it may be that of a process that has been stopped.
        """
        await self.execute(
            "UPDATE outbox SET created_at = created_at - $1 * interval '1 second'"
            " WHERE ctid = ANY (ARRAY(SELECT ctid FROM outbox FOR UPDATE SKIP LOCKED))",
            seconds,
        )
        await self.execute(
            "UPDATE projections SET retry_at = retry_at - $1 * interval '1 second',"
            " leased_until = leased_until - $1 * interval '1 second'"
            " WHERE ctid = ANY (ARRAY(SELECT ctid FROM projections FOR UPDATE SKIP LOCKED))",
            seconds,
        )

    async def execute(self, statement: str, *values: Any) -> None:
        """Run a statement, whatever the database goes through at the moment."""
        await self._retried("execute", statement, *values)

    async def fetch(self, statement: str, *values: Any) -> list[Any]:
        """The rows of a query, whatever the database goes through at the moment."""
        found: list[Any] = await self._retried("fetch", statement, *values)
        return found

    async def _retried(self, method: str, statement: str, *values: Any) -> Any:
        for _ in range(200):
            try:
                if self._connection is None or self._connection.is_closed():
                    self._connection = await asyncpg.connect(self.dsn)
                return await getattr(self._connection, method)(statement, *values)
            except (*UNREACHABLE, asyncpg.PostgresError):
                if self._connection is not None:
                    self._connection.terminate()
                await asyncio.sleep(0.1)
        raise RuntimeError("the database does not come back")

    def close(self) -> None:
        """Give back what it holds itself."""
        if self._connection is not None:
            self._connection.terminate()

    async def on_hit(self, fault: Fault) -> None:
        """Do to processes what a fault says."""
        victim = self.worker if fault.action == "kill-worker" else self.server
        if fault.action.startswith("kill"):
            victim.kill()
            self.gate.dying = False
        elif fault.action == "pause-server":
            # Longer than any lease: another one delivers meanwhile, then it wakes.
            victim.signal(signal.SIGSTOP)
            await self.advance(30)
            await asyncio.sleep(0.8)
            victim.signal(signal.SIGCONT)

    async def revive(self) -> None:
        """Start again what is dead."""
        for process in (self.server, self.worker):
            process.signal(signal.SIGCONT)
            if not process.alive:
                process.start()
                await self.advance(30)  # whoever held a lease is dead
        await self.server.ready()

    async def restart_database(self) -> None:
        """End the database in the middle of everything, and start it again."""
        assert self.postgres is not None, "the site's own"
        pid = self.postgres.pid
        assert pid is not None, "it runs"
        os.kill(pid, signal.SIGQUIT)
        while True:
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                break
            await asyncio.sleep(0.05)
        await self.postgres.ensure_running()


@contextmanager
def _logs(folder: Path) -> Iterator[dict[str, IO[bytes]]]:
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, IO[bytes]] = {name: (folder / f"{name}.log").open("ab") for name in ("server", "reader", "worker")}
    try:
        yield files
    finally:
        for file in files.values():
            file.close()


@asynccontextmanager
async def open_site(
    engine: EngineName,
    logs: Path,
    *,
    mutant: str | None = None,
    postgres: EmbeddedPostgres | None = None,
    dsn: str = "",
    learn_seconds: float = 1.5,
) -> AsyncIterator[Site]:
    """Start an installation; everything that was started is ended.

    Args:
        engine: which engine elsewhere.
        logs: the folder of what processes print.
        mutant: a fault of the product that is planted in its processes.
        postgres: the server of a migrated database `dsn` that the site is to use; by default it starts its own.
        dsn: that database.
        learn_seconds: how long to listen to what processes say by themselves, which is no part of any operation.
    """
    async with AsyncExitStack() as stack:
        files = stack.enter_context(_logs(logs))
        own = postgres is None
        if postgres is None:
            folder = stack.enter_context(make_data_dir())
            postgres = await EmbeddedPostgres.start(folder, options=_FAST)
            stack.push_async_callback(postgres.stop)
            dsn = postgres.dsn
            await asyncio.to_thread(upgrade, dsn)
        gate = Gate()
        beside = await stack.enter_async_context(open_beside(engine, postgres, dsn, logs))
        socket = f"{postgres._cluster.directory.socket_dir}/.s.PGSQL.5432"
        proxies = {}
        for owner in ("server", "worker"):
            for kind, protocol, to in (("db", "postgres", socket), ("engine", beside.protocol, beside.upstream)):
                proxies[f"{owner}-{kind}"] = proxy = Proxy(gate, f"{owner}-{kind}", protocol, to)
                await proxy.start()
                stack.push_async_callback(proxy.close)
        common = {
            "REMIT_AUTHZ_ENGINE": engine,
            "REMIT_SECRET_KEY": SECRET_KEY,
            "REMIT_EMBEDDED_WORKER": "false",
            "REMIT_AUTHZ_TIMEOUT": "1.0",
            "REMIT_POOL_TIMEOUT": "2",
        }
        direct = {**common, "REMIT_DATABASE_URL": dsn, **beside.settings_at(beside.upstream)}
        planted = {}
        if mutant:
            planted = {"REMIT_PLANTED": mutant, "PYTHONPATH": str(PLANTED)}
        address = urlsplit(dsn)

        def behind(owner: str) -> dict[str, str]:
            db, remote = proxies[f"{owner}-db"].port, proxies[f"{owner}-engine"].port
            url = f"postgresql://{address.username}@127.0.0.1:{db}{address.path}"
            return {
                **direct,
                **planted,
                "REMIT_DATABASE_URL": url,
                **beside.settings_at(f"127.0.0.1:{remote}"),
            }

        def serve(environment: dict[str, str], log: IO[bytes]) -> RemitProcess:
            port = free_port()
            arguments = ["serve", "--port", str(port), "--no-worker"]
            return RemitProcess(arguments, clean_environment(**environment), log, f"http://127.0.0.1:{port}")

        server = serve(behind("server"), files["server"])
        reader = serve({**direct, **planted}, files["reader"])
        worker = RemitProcess(["worker"], clean_environment(**behind("worker")), files["worker"])
        for process in (server, reader, worker):
            process.start()
            stack.callback(process.kill)
        await server.ready()
        await reader.ready()
        settings = settings_of(direct)
        seed = await stack.enter_async_context(open_seeder(dsn, server.url, settings))
        site = Site(beside, gate, server, reader, worker, seed, direct, dsn, postgres if own else None, proxies)
        stack.callback(site.close)
        gate.on_hit = site.on_hit
        gate.learning = True
        await asyncio.sleep(learn_seconds)
        gate.learning = False
        yield site


def settings_of(environment: dict[str, str]) -> Settings:
    """The settings that an environment has."""
    values = {name.removeprefix("REMIT_").lower(): value for name, value in environment.items()}
    return Settings.model_validate(values)
