"""A tenant full of tasks is adopted by the runbook, while its people work: `scripts/adopt --tasks 100000`.

Two server processes, a real SpiceDB and a few callers who create, read, share, take back and delete without a pause.
The commands of docs/operations/adopt.md run beside them as they stand. Every request is in a log, which the checker
reads in two parts: until `enforce` by the roles, from then on by the relationships. At the end nothing waits and a
reconciliation is clean.
"""

import argparse
import asyncio
import random
import re
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import httpx
import psycopg
from support.databases import make_data_dir
from support.processes import clean_environment, run_remit
from support.spicedb_host import run_spicedb

from faults.checker import Violation, check_history
from faults.history import Action, Entry, History, Terms
from remit.agents.service import insert_agent
from remit.authz.load import load_engine
from remit.authz.model import Subject
from remit.authz.reconcile.pace import DEFAULT_RATE
from remit.db.embedded import EmbeddedPostgres
from remit.db.pool import Database
from remit.identity.api_keys import insert_key
from remit.identity.subjects import TenantRole, create_subject
from remit.settings import Settings

PAGE: Final = Path(__file__).parents[2] / "docs" / "operations" / "adopt.md"
ROLES: Final[dict[str, TenantRole]] = {"alice": "member", "bob": "member", "carol": "member", "root": "admin"}
# A mode takes effect within a second in every process; what was asked around a switch is judged by neither rule.
SWITCH_SECONDS: Final = 1.5
SETTLE_SECONDS: Final = 60
# How often they turn to tasks that were there before the tenant was adopted.
OLD_SHARE: Final = 0.5
NOWHERE: Final = "http://127.0.0.1:9"

_FILL = """
WITH people AS (SELECT array_agg(s.id ORDER BY s.external_id) AS ids FROM subjects s
                 WHERE s.tenant_id = %(tenant)s AND s.external_id IN ('alice', 'bob', 'carol'))
INSERT INTO tasks (id, tenant_id, agent_id, status, creator_user_id)
SELECT uuidv7(), %(tenant)s, %(agent)s, 'RUNNING', p.ids[1 + n %% 3] FROM people p, generate_series(1, %(rows)s) n
"""
_OLD = """
SELECT t.id::text, s.external_id FROM tasks t JOIN subjects s ON s.id = t.creator_user_id ORDER BY random() LIMIT 2000
"""


def say(text: object) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class Load:
    """People who work.

    Args:
        urls: of the servers, which are asked in turn.
        agent: the id of the tenant's agent.
        keys: of the people, by name.
        old: tasks from before, with their creators.
        seed: of what they do.
    """

    def __init__(self, urls: list[str], agent: str, keys: dict[str, str], old: dict[str, str], seed: int) -> None:
        self._clients = [httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) for url in urls]
        self._agent, self._keys = agent, keys
        self._owners = dict(old)
        self._old = list(old)
        self._shared: set[tuple[str, str]] = set()
        self._seed = seed
        self.entries: list[Entry] = []
        self.ended = asyncio.Event()

    async def run(self, workers: int) -> None:
        """Work until ended."""
        await asyncio.gather(*(self._work(random.Random(f"{self._seed}-{n}")) for n in range(workers)))
        for client in self._clients:
            await client.aclose()

    def reads_since(self, moment: float) -> int:
        """How many reads began after a moment."""
        return sum(entry.action == "read" and entry.start > moment for entry in self.entries)

    def told_since(self, moment: float) -> str:
        """How many requests began after a moment, and how long they took."""
        took = sorted(entry.end - entry.start for entry in self.entries if entry.start > moment)
        if not took:
            return "no requests"
        middle, most = (took[int(len(took) * share)] * 1000 for share in (0.5, 0.95))
        return f"{len(took)} requests meanwhile, p50 {middle:.0f} ms, p95 {most:.0f} ms"

    async def _work(self, choose: random.Random) -> None:
        while not self.ended.is_set():
            try:
                await self._one(choose)
            except httpx.HTTPError:
                continue
            await asyncio.sleep(choose.uniform(0, 0.05))

    async def _one(self, choose: random.Random) -> None:
        who = choose.choice(list(ROLES))
        what = choose.choices(("create", "read", "share", "revoke", "delete"), (15, 55, 12, 10, 8))[0]
        if what == "create":
            answer, entry = await self._ask(choose, "create", who, "", "POST", f"/agents/{self._agent}/rpc",
                                            {"method": "task/create", "params": {}})  # fmt: skip
            id = answer.json().get("result", {}).get("id") if answer.status_code == 200 else None
            if id:
                self.entries.append(replace(entry, resource=id))
                self._owners[id] = who
            return
        id = choose.choice(self._old if choose.random() < OLD_SHARE else list(self._owners)[-400:])
        owner = self._owners[id]
        path = f"/tasks/{id}"
        if what == "read":
            _, entry = await self._ask(choose, "read", who, id, "GET", path)
            self.entries.append(entry)
        elif what == "share":
            to = choose.choice([name for name in ROLES if name not in (owner, "root")])
            body = {"subject_type": "user", "subject_id": to, "role": "viewer"}
            # While roles decide, sharing is an admin's.
            answer, entry = await self._ask(choose, "share", "root", id, "PUT", f"{path}/access", body, to)
            # In `off` a share is refused, and changes nothing.
            if answer.status_code != 409:
                self.entries.append(entry)
                self._shared.add((id, to))
        elif what == "revoke" and self._shared:
            id, to = choose.choice(sorted(self._shared))
            where = f"/tasks/{id}/access?subject_type=user&subject_id={to}"
            _, entry = await self._ask(choose, "revoke", "root", id, "DELETE", where, None, to)
            self.entries.append(entry)
            self._shared.discard((id, to))
        elif what == "delete" and len(self._owners) > 300:
            _, entry = await self._ask(choose, "delete", owner, id, "DELETE", path)
            self.entries.append(entry)

    async def _ask(
        self, choose: random.Random, action: Action, who: str, id: str, method: str, path: str,
        body: Any = None, to: str | None = None,
    ) -> tuple[httpx.Response, Entry]:  # fmt: skip
        start = time.monotonic()
        headers = {"authorization": f"Bearer {self._keys[who]}"}
        try:
            answer = await choose.choice(self._clients).request(method, path, headers=headers, json=body)
        except httpx.HTTPError:
            self.entries.append(Entry(action, who, id, start, time.monotonic(), None, to))
            raise
        return answer, Entry(action, who, id, start, time.monotonic(), answer.status_code, to)


def judge(entries: list[Entry], old: dict[str, str], switched: tuple[float, float]) -> list[Violation]:
    """What the log must not have, resource by resource.

    Args:
        entries: of all requests.
        old: tasks from before, with their creators.
        switched: when the command that moved to `enforce` began and ended.
    """
    found: list[Violation] = []
    by_resource: dict[str, list[Entry]] = {id: [Entry("create", who, id, 0, 0, 200)] for id, who in old.items()}
    for entry in entries:
        by_resource.setdefault(entry.resource, []).append(entry)
    before, after = switched[0], switched[1] + SWITCH_SECONDS
    for all_of in by_resource.values():
        ordered = sorted(all_of, key=lambda entry: entry.start)
        changes = [one for one in ordered if one.action != "read"]
        for judged_by, reads in (
            ("roles", [one for one in ordered if one.action == "read" and one.end < before]),
            ("relationships", [one for one in ordered if one.action == "read" and one.start > after]),
        ):
            history = History(Terms(judged_by, dict(ROLES)))  # type: ignore[arg-type]  # one of the two
            history.entries = sorted([*changes, *reads], key=lambda entry: entry.start)
            found += check_history(history)
    return found


class Site:
    """The installation: its database, its graph, its commands."""

    def __init__(self, folder: Path, dsn: str, elsewhere: dict[str, str]) -> None:
        self.folder, self.dsn, self.elsewhere = folder, dsn, elsewhere

    def run(self, command: str) -> str:
        """Run a command of the page, which must end well; return what it printed."""
        ran = subprocess.run(
            [sys.executable, "-m", *command.split()],
            env=clean_environment(REMIT_DATA_DIR=str(self.folder), **self.elsewhere),
            capture_output=True,
            text=True,
            check=False,
        )
        if ran.returncode:
            raise SystemExit(f"{command} ended with {ran.returncode}\n{ran.stdout}{ran.stderr}")
        return ran.stdout

    def query(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), values)
            return cursor.fetchall() if cursor.description else []

    def settle(self) -> None:
        """Wait until nothing waits."""
        ends = time.monotonic() + SETTLE_SECONDS
        while self.query("SELECT 1 FROM outbox LIMIT 1"):
            if time.monotonic() > ends:
                raise SystemExit(
                    f"something waits after {SETTLE_SECONDS} s: {self.query('SELECT * FROM outbox LIMIT 3')}"
                )
            time.sleep(0.2)

    async def people(self) -> tuple[str, dict[str, str]]:
        """The tenant's agent and the keys of its people."""
        database = await Database.open(self.dsn, size=1)
        keys: dict[str, str] = {}
        try:
            async with database.transaction() as connection:
                engine = await load_engine(connection, Settings(authz_engine="spicedb"))
                tenant = await connection.fetchval("SELECT id::text FROM tenants WHERE name = 'acme'")
                for name, role in ROLES.items():
                    id = await create_subject(connection, engine, tenant, "user", name, role=role)
                    keys[name] = (await insert_key(connection, tenant_id=tenant, holder=Subject("user", id))).secret
                agent = await insert_agent(
                    connection, engine, tenant_id=tenant, name="echo", acp_type="sync", acp_url=NOWHERE, status="Ready"
                )
                assert agent is not None, "the tenant is new"
        finally:
            await database.close()
        return agent, keys


def at_rate(command: str, rate: int) -> str:
    """A command of the page, with its rate named where it has one."""
    return f"{command} --rate {rate}" if re.search(r"authz (reconcile|backfill)", command) else command


def commands_of_page() -> tuple[str, list[str]]:
    """The command that makes the tenant, and those up to `enforce`."""
    blocks = re.findall(r"```console\n(.*?)```", PAGE.read_text(), re.DOTALL)
    commands = [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]
    last = next(n for n, command in enumerate(commands) if "mode set enforce" in command)
    return commands[0], commands[1 : last + 1]


async def adopt(site: Site, urls: list[str], options: argparse.Namespace) -> list[Violation]:
    """Fill, work, adopt, judge."""
    agent, keys = await site.people()
    (tenant,) = site.query("SELECT id::text FROM tenants WHERE name = 'acme'")
    site.query(_FILL, tenant=tenant[0], agent=agent, rows=options.tasks)
    old = dict(site.query(_OLD))
    load = Load(urls, agent, keys, old, options.seed)
    working = asyncio.create_task(load.run(options.workers))
    switched = 0.0, 0.0
    _, commands = commands_of_page()
    await asyncio.sleep(options.pause)
    for command in commands:
        began = time.monotonic()
        await asyncio.to_thread(site.run, at_rate(command, options.rate))
        ended = time.monotonic()
        say(f"{ended - began:6.1f} s  {command}  ({load.told_since(began)})")
        if "mode set enforce" in command:
            switched = began, ended
        await asyncio.sleep(options.shadow if "mode set shadow" in command else options.pause)
    while (after := load.reads_since(switched[1] + SWITCH_SECONDS)) < options.reads:
        if working.done():
            raise SystemExit(f"the work ended early: {working.exception()}")
        await asyncio.sleep(1)
    say(f"{time.monotonic() - switched[1]:6.1f} s  of requests under relationships  ({load.told_since(switched[1])})")
    load.ended.set()
    await working
    began = time.monotonic()
    await asyncio.to_thread(site.settle)
    say(f"{time.monotonic() - began:6.1f} s  until nothing waits")
    began = time.monotonic()
    site.run(at_rate("remit authz reconcile --tenant acme", options.rate))
    say(f"{time.monotonic() - began:6.1f} s  remit authz reconcile --tenant acme  (clean)")
    told = Counter((entry.action, entry.status) for entry in load.entries)
    say(", ".join(f"{action} {status}: {count}" for (action, status), count in sorted(told.items(), key=str)))
    say(f"{len(load.entries)} requests, {after} of them reads under relationships")
    return judge(load.entries, old, switched)


def _make_database(dsn: str) -> str:
    """A database for SpiceDB, which does not hold so much in memory."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CREATE DATABASE spicedb")
    return dsn.replace("@/remit?", "@/spicedb?")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=6)
    parser.add_argument("--reads", type=int, default=5000, help="that are to be answered by relationships at the end")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=int, default=DEFAULT_RATE, help="of backfill and reconciliations")
    parser.add_argument("--shadow", type=float, default=30.0, help="seconds of work in `shadow`")
    parser.add_argument("--pause", type=float, default=3.0, help="seconds of work between two commands")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = stack.enter_context(make_data_dir())
        # So that what grows so fast has statistics in time, as a database that has run for long has them.
        postgres = EmbeddedPostgres.start_blocking(folder, options={"autovacuum_naptime": "5s"})
        stack.callback(postgres.stop_blocking)
        spice = stack.enter_context(run_spicedb(postgres=_make_database(postgres.dsn)))
        elsewhere = {
            "REMIT_AUTHZ_ENGINE": "spicedb",
            "REMIT_SPICEDB_ENDPOINT": spice.endpoint,
            "REMIT_SPICEDB_TOKEN": spice.token,
            "REMIT_SPICEDB_TLS": "false",
        }
        site = Site(folder, postgres.dsn, elsewhere)
        site.run("remit db upgrade")
        site.run(commands_of_page()[0])
        servers = [stack.enter_context(run_remit(folder, log=None, **elsewhere)) for _ in range(2)]
        found = asyncio.run(adopt(site, [server.url for server in servers], options))
    for violation in found:
        say(violation)
    say(f"{len(found)} violations")
    raise SystemExit(bool(found))


if __name__ == "__main__":
    main()
