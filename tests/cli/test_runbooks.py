"""The commands of the operators' pages run as they stand, each page on the trouble that it is for."""

import asyncio
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import chdir, redirect_stderr, redirect_stdout
from datetime import timedelta
from functools import partial
from pathlib import Path
from textwrap import indent
from typing import TypeVar

import grpc
import pytest
from authzed.api.v1 import WriteRelationshipsRequest
from pydantic import SecretStr
from support.databases import make_data_dir
from support.processes import clean_environment, free_port
from support.rows import Rows
from support.spicedb_host import SpiceProcess, run_spicedb
from support.world import make_world_blocking

from remit.authz.model import Relationship, Resource, Subject
from remit.authz.schema import parse_schema
from remit.authz.schema_print import print_schema
from remit.authz.schema_tree import Schema
from remit.authz.spicedb import SpiceDB
from remit.authz.spicedb_wire import to_wire, touch
from remit.cli import run_command
from remit.db.embedded import EmbeddedPostgres
from remit.ids import new_id
from remit.relay import relay_once
from remit.settings import Settings
from remit.worker import open_services

Result = TypeVar("Result")

PAGES = Path(__file__).parents[2] / "docs" / "operations"
RUN = {"adopt.md", "orphans.md", "spicedb.md", "outage.md", "restore.md", "bad-schema.md", "move.md"}


class Site(Rows):
    """One installation, with a SpiceDB that it is told of where a page says so."""

    def __init__(self, data_dir: Path, work_dir: Path, server: EmbeddedPostgres, spice: SpiceProcess) -> None:
        super().__init__(server.dsn)
        self.data_dir, self.work_dir, self.server, self.spice = data_dir, work_dir, server, spice
        # A page cannot know these.
        self.own = {
            "REMIT_DATA_DIR": str(data_dir),
            "REMIT_SPICEDB_ENDPOINT": spice.endpoint,
            "REMIT_SPICEDB_TOKEN": spice.token,
            "REMIT_SPICEDB_TLS": "false",
            "REMIT_PORT": str(free_port()),
        }
        self.environment = dict(self.own)

    def told(self, **settings: str) -> None:
        """What the environment has besides, from here on."""
        self.environment = {**self.own, **settings}

    def run(self, command: str, code: int = 0) -> str:
        """What a command printed, which ended with this code."""
        if command.startswith("export "):
            settings = dict(word.partition("=")[::2] for word in shlex.split(command)[1:])
            self.environment |= {name: value for name, value in settings.items() if name not in self.own}
            return ""
        assert command.startswith("remit "), f"{command}: not a command of ours"
        command, _, target = command.partition(" > ")
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, chdir(self.work_dir), redirect_stdout(out), redirect_stderr(err):
            for name in [name for name in os.environ if name.startswith("REMIT_")]:
                patch.delenv(name)
            for name, value in self.environment.items():
                patch.setenv(name, value)
            patch.setattr(os, "nice", lambda _: 0)  # it would be of all tests that follow
            ended = run_command(shlex.split(command)[1:])
        assert ended == code, f"{command}: {ended}\n{out.getvalue()}{err.getvalue()}"
        if target:
            (self.work_dir / target).write_text(out.getvalue())
        return out.getvalue()

    def follow(self, page: str, codes: Mapping[str, int] | None = None) -> dict[str, str]:
        """Run a page's commands in order; return what each printed last.

        Args:
            page: its file.
            codes: what else than 0 commands end with the first time they come, by the command.
        """
        expected = dict(codes or {})
        return {command: self.run(command, expected.pop(command, 0)) for command in commands_of(page)}

    def deliver(self) -> None:
        """What the worker of a server does in the next seconds."""

        async def run() -> None:
            settings = Settings(
                authz_engine="spicedb",
                spicedb_endpoint=self.spice.endpoint,
                spicedb_token=SecretStr(self.spice.token),
                spicedb_tls=False,
            )
            async with open_services(settings, self.server.dsn) as services:
                assert services.delivery is not None
                while await relay_once(services.database, services.agents, services.delivery, timedelta(0)):
                    pass

        asyncio.run(run())
        assert self.query("SELECT resource_type, last_error FROM outbox") == []

    def make_task(self, name: str, *, creator: bool = True) -> str:
        """A row of acme's and no relationship."""
        (row,) = self.query(
            "INSERT INTO tasks (id, tenant_id, agent_id, status, name, creator_user_id)"
            " SELECT %s::uuid, a.tenant_id, a.id, 'RUNNING', %s,"
            " CASE WHEN %s THEN"
            " (SELECT s.id FROM subjects s WHERE s.tenant_id = a.tenant_id AND s.external_id = 'alice') END"
            " FROM agents a JOIN tenants n ON n.id = a.tenant_id WHERE n.name = 'acme' AND a.name = 'echo'"
            " RETURNING id::text AS id",
            new_id(),
            name,
            creator,
        )
        return str(row["id"])

    def graph(self, id: str) -> set[str]:
        """What SpiceDB has of a task."""

        async def read(client: SpiceDB) -> list[Relationship]:
            return (await client.read_resource(Resource("task", id)))[0]

        return {f"{one.relation}@{one.subject}" for one in self.ask(read)}

    def write_foreign(self, *facts: Relationship) -> None:
        """Relationships in SpiceDB that another system wrote."""

        async def write(client: SpiceDB) -> None:
            updates = [touch(to_wire(one)) for one in facts]
            await client._client.WriteRelationships(WriteRelationshipsRequest(updates=updates), **client._call)

        self.ask(write)

    def ask(self, work: Callable[[SpiceDB], Awaitable[Result]]) -> Result:
        """Work as an operator of SpiceDB does."""

        async def run() -> Result:
            client = SpiceDB(grpc.aio.insecure_channel(self.spice.endpoint), self.spice.token)
            try:
                return await work(client)
            finally:
                await client.aclose()

        return asyncio.run(run())


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with make_data_dir() as folder, run_spicedb() as spice:
        made = Site(folder, tmp_path_factory.mktemp("operator"), EmbeddedPostgres.start_blocking(folder), spice)
        try:
            made.run("remit db upgrade")
            yield made
        finally:
            made.server.stop_blocking()


@pytest.fixture
def bare(installation: Site) -> Iterator[Site]:
    """The installation without a tenant acme."""
    installation.told()
    yield installation
    installation.query("UPDATE tenants SET name = name || '-' || left(id::text, 13) WHERE name IN ('acme', 'globex')")


@pytest.fixture
def site(bare: Site) -> Site:
    """The installation with acme, its people alice and bob, and its agents echo and other."""
    make_world_blocking(bare.server.dsn, agents=("echo", "other"))
    return bare


def commands_of(page: str) -> list[str]:
    blocks = re.findall(r"```console\n(.*?)```", (PAGES / page).read_text(), re.DOTALL)
    return [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]


def test_every_page_with_commands_is_run_here() -> None:
    assert {page.name for page in PAGES.glob("*.md") if commands_of(page.name)} == RUN


def test_a_tenant_is_adopted_and_given_back(bare: Site) -> None:
    told = {}
    for command in commands_of("adopt.md"):
        told[command] = bare.run(command)
        if command.startswith("remit tenants add"):
            # What the tenant has when it comes: an agent that is not registered.
            bare.run("remit agents enroll echo --tenant acme")
    assert "1 of 1 repaired" in told["remit authz backfill --tenant acme"]
    assert "clean" in told["remit authz reconcile --tenant acme"]
    assert bare.run("remit authz list agent:echo --tenant acme").count("tenant") >= 2


def test_orphans_are_found_and_repaired(site: Site) -> None:
    nightly, report, gone = site.make_task("nightly", creator=False), site.make_task("report"), site.make_task("gone")
    site.run("remit authz reconcile --tenant acme --apply")
    site.query("DELETE FROM relationships WHERE resource_id = %s::uuid", report)
    site.query("UPDATE tasks SET status = 'DELETED' WHERE id = %s::uuid", gone)
    site.query(
        "UPDATE relationships SET subject_id = (SELECT a.id FROM agents a JOIN tenants n ON n.id = a.tenant_id"
        " WHERE n.name = 'acme' AND a.name = 'other') WHERE resource_id = %s::uuid"
        " AND relation = (SELECT code FROM authz_relations WHERE name = 'parent_agent')",
        nightly,
    )
    find, repair = "remit authz reconcile --tenant acme", "remit authz reconcile --tenant acme --apply"
    prune = f"{repair} --prune 100"
    told = site.follow("orphans.md", {find: 1, repair: 1, prune: 1})
    assert all(name in told[find] for name in ("unregistered", "dangling", "wrong_parent", "no_creator"))
    assert site.relations(report) == ["owner", "parent_agent", "tenant"]
    assert site.relations(gone) == []
    assert "alice" in told["remit authz list task:nightly --tenant acme"]
    assert site.relations(nightly) == ["owner", "parent_agent", "tenant"]
    assert "clean" in site.run(find)


def test_an_outage_is_looked_at_and_is_over(site: Site) -> None:
    task = site.make_task("report")
    site.told(REMIT_AUTHZ_ENGINE="spicedb")
    site.run("remit authz move --to spicedb --apply")
    commands = commands_of("outage.md")
    back = commands.index("remit authz outbox retry --all")
    site.told(REMIT_AUTHZ_ENGINE="spicedb", REMIT_SPICEDB_ENDPOINT="127.0.0.1:1")
    site.run("remit authz backfill --tenant acme --type task")
    told = {command: site.run(command, 1 if command == "remit doctor" else 0) for command in commands[:back]}
    assert "gives no answer" in told["remit doctor"]
    assert f"task:{task}" in told["remit authz outbox list"]
    assert "nothing waits" in told["remit authz outbox list --dead"]
    site.told(REMIT_AUTHZ_ENGINE="spicedb")
    for command in commands[back:]:
        site.run(command)
        if command == "remit authz outbox retry --all":
            site.deliver()
    assert "owner@user:alice" in site.graph(task)


def test_a_restored_database_and_a_restored_graph(site: Site) -> None:
    task = site.make_task("report")
    site.run("remit authz reconcile --apply")
    site.told(REMIT_AUTHZ_ENGINE="spicedb")
    site.run("remit authz move --to spicedb --apply")
    told: dict[str, str] = {}
    for command in commands_of("restore.md"):
        if command.startswith("remit db restore"):
            site.server.stop_blocking()  # as the page says: nobody serves meanwhile
        told.setdefault(command, site.run(command, 1 if command.endswith("--after-restore") else 0))
        if command.startswith("remit db restore"):
            site.server = EmbeddedPostgres.start_blocking(site.data_dir)
        if command.startswith("remit db dump"):
            # What the dump does not know: a share, and a task of its own.
            later = site.make_task("later")
            site.run("remit authz grant task:report viewer user:bob --tenant acme")
            site.query("UPDATE outbox SET created_at = created_at - interval '1 minute'")
            assert "behind" in site.run("remit authz reconcile --tenant acme --apply", 1)
            site.run("remit authz outbox wait --seconds 0", 1)
            site.deliver()
            site.run("remit authz outbox wait --seconds 0")
            assert "viewer@user:bob" in site.graph(task)
            assert site.graph(later)
        if command == "remit authz reconcile --after-restore --apply":
            assert site.graph(task) == {
                f"tenant@tenant:{_tenant(site)}", f"parent_agent@agent:{_agent(site)}", "owner@user:alice"
            }  # fmt: skip
            assert site.graph(later) == set()
    assert "not_removed" in told["remit authz reconcile --after-restore"]
    assert "equal" in told["remit authz move --to spicedb --apply"]


def test_a_bad_schema_is_seen_and_taken_back(site: Site) -> None:
    site.make_task("nightly")
    site.run("remit authz reconcile --tenant acme --apply")
    good = site.run("remit authz schema show")
    bad = good.replace("permission cancel = (owner + ", "permission cancel = (")
    assert bad != good
    (site.work_dir / "my-schema.zed").write_text(bad)
    (site.work_dir / "my-tests.yaml").write_text(
        f"schema: |-\n{indent(bad, '  ')}\nrelationships: |-\n  tenant:t#member@user:alice\nassertions:\n"
        "  assertTrue:\n    - tenant:t#create_task@user:alice\n"
    )
    told = site.follow("bad-schema.md")
    assert "cancel" in told["remit authz schema apply my-schema.zed --dry-run"]
    assert "cancel" in told["remit authz schema apply my-schema.zed"]
    assert site.run("remit authz schema show").strip() == good.strip()
    assert site.run("remit authz schema show --version 2").strip() == bad.strip()
    history = site.run("remit authz schema history")
    assert re.findall(r"^version \d, ", history, re.MULTILINE) == ["version 3, ", "version 2, ", "version 1, "]
    assert history.count("permission task#cancel") == 2
    assert "alice" in told["remit authz why task:nightly read user:alice --tenant acme"]


def test_a_move_to_spicedb_and_back(site: Site) -> None:
    task = site.make_task("report")
    site.query(
        "INSERT INTO tasks (id, tenant_id, agent_id, status) SELECT uuidv7(), a.tenant_id, a.id, 'RUNNING'"
        " FROM agents a, generate_series(1, 120) WHERE a.id = %s::uuid",
        _agent(site),
    )
    site.run("remit authz reconcile --tenant acme --apply --rate 100000")
    begin_a_move_and_kill_it(site)
    commands = commands_of("move.md")
    back = commands.index("remit authz move --to embedded")
    told = {}
    for command in commands[:back]:
        told[command] = site.run(command, 1 if command == "remit authz move --to spicedb" else 0)
    assert "equal: both sides hold the same" in told["remit authz move --to spicedb --apply"]
    assert "owner@user:alice" in site.graph(task)
    site.write_foreign(
        Relationship(Resource("task", task), "viewer", Subject("user", "bob")),
        Relationship(Resource("task", task), "viewer", Subject("user", "nobody-here")),
    )
    look, take = commands[back:]
    assert "viewer@user:bob" in site.run(look, 1)
    told[take] = site.run(take, 1)
    assert "no user of this name" in told[take]
    assert "viewer" in site.relations(task)
    assert site.run("remit authz check task:report read user:bob --tenant acme").strip() == "allowed"
    site.deliver()


def begin_a_move_and_kill_it(site: Site) -> None:
    """Leave a move in its middle, with leases that nobody will give back."""
    count = (
        "SELECT count(*) AS n FROM projections p JOIN tasks t ON t.id = p.resource_id"
        f" WHERE p.delivered_version IS NOT NULL AND t.tenant_id = '{_tenant(site)}'"
    )
    command = [sys.executable, "-m", "remit", "authz", "move", "--to", "spicedb", "--apply", "--rate", "50"]
    environment = clean_environment(**site.own, REMIT_AUTHZ_ENGINE="spicedb")
    process = subprocess.Popen(command, env=environment)
    try:
        while not site.query(count)[0]["n"]:
            assert process.poll() is None, "it ended before it was killed"
    finally:
        process.kill()
        process.wait()
    assert 0 < site.query(count)[0]["n"] < 121
    # As if it had been killed within a write.
    site.query(
        "INSERT INTO projections (resource_type, resource_id, fence, leased_until)"
        " SELECT 'task', id, 1, now() + interval '3 seconds' FROM tasks WHERE tenant_id = %s::uuid"
        " ORDER BY id DESC LIMIT 3",
        _tenant(site),
    )


def test_no_type_moves_past_write_where_spicedb_lacks_an_operation(site: Site) -> None:
    site.told(REMIT_AUTHZ_ENGINE="spicedb")
    site.run("remit tenants add adopted --adopt")
    site.run("remit authz mode set write --tenant adopted")
    move = "remit authz mode set shadow --tenant adopted --force"
    schema = parse_schema(site.run("remit authz schema show"), "shown")
    lacks = parse_schema(re.sub(r"permission cancel = .*", "", print_schema(schema)), "without cancel")

    async def write(client: SpiceDB, schema: Schema) -> None:
        await client.write_schema(schema)

    def modes() -> set[str]:
        rows = site.query(
            "SELECT m.mode FROM authz_modes m JOIN tenants n ON n.id = m.tenant_id WHERE n.name = 'adopted'"
        )
        return {row["mode"] for row in rows}

    site.ask(partial(write, schema=lacks))
    site.run(move, 2)
    assert modes() == {"write"}
    site.ask(partial(write, schema=schema))
    site.run(move)
    assert modes() == {"shadow"}


def test_a_spicedb_beside_it(site: Site) -> None:
    site.told(REMIT_AUTHZ_ENGINE="spicedb")
    site.run("remit authz move --to spicedb --apply")
    commands = [one for one in commands_of("spicedb.md") if not one.startswith(("pip ", "remit serve"))]
    for command in commands:
        site.run(command)
    assert site.environment["REMIT_AUTHZ_ENGINE"] == "spicedb"


def _tenant(site: Site) -> str:
    return str(site.query("SELECT id::text AS id FROM tenants WHERE name = 'acme'")[0]["id"])


def _agent(site: Site) -> str:
    rows = site.query(
        "SELECT a.id::text AS id FROM agents a JOIN tenants n ON n.id = a.tenant_id"
        " WHERE n.name = 'acme' AND a.name = 'echo'"
    )
    return str(rows[0]["id"])


def test_an_operators_other_commands(site: Site) -> None:
    site.told(REMIT_AUTHZ_ENGINE="spicedb")
    tenant = _tenant(site)
    assert "answered by postgres" in site.run("remit auth flags show --tenant acme")
    site.run("remit auth flags set --tenant acme --dual-write spicedb --check spicedb")
    assert "answered by spicedb" in site.run("remit auth flags show --tenant acme")
    site.run("remit auth flags set --tenant acme --dual-write http", 2)
    trail = site.query("SELECT detail FROM audit WHERE action = 'account.flags' AND tenant_id = %s::uuid", tenant)
    assert [row["detail"]["after"]["check"] for row in trail] == ["spicedb"]

    # A resource of a server that has this installation for its provider is stored under a hash of its name.
    theirs = f"task:{tenant}/their-task"
    site.run(f"remit authz grant {theirs} viewer user:bob --tenant acme")
    give_up = "UPDATE outbox SET dead_at = now(), last_error = 'Refused' WHERE tenant_id IS NULL"
    site.query(give_up)
    assert theirs in site.run("remit authz outbox list --dead")
    site.run(f"remit authz outbox retry {theirs}")
    assert theirs not in site.run("remit authz outbox list --dead")
    site.query(give_up)
    site.run(f"remit authz outbox discard {theirs}")
    assert site.query("SELECT 1 FROM outbox WHERE tenant_id IS NULL") == []

    site.query(
        "INSERT INTO authz_shadow_counts (tenant_id, resource_type, permission, outcome, class, count)"
        " VALUES (%s::uuid, 'task', 'read', 'would_allow', 'model_difference', 3)",
        tenant,
    )
    assert "would_allow" in site.run("remit authz shadow report --tenant acme")
    assert "3 comparisons" in site.run("remit authz shadow reset --tenant acme")
    assert "Nothing was compared" in site.run("remit authz shadow report --tenant acme")
