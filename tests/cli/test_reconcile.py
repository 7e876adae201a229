"""Reconciliation and backfill as an operator runs them, on drift that was planted."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cached_property
from typing import Any

import pytest
from support.commands import remit
from support.processes import clean_environment
from support.rows import Rows
from support.spicedb_host import run_spicedb
from support.world import make_world_blocking

COLOURS = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")
AT = "2026-01-01T00:00:00Z"


class Site(Rows):
    """An installation in which tests plant drift."""

    def __init__(self, dsn: str, stack: ExitStack) -> None:
        super().__init__(dsn)
        self.stack = stack

    @cached_property
    def elsewhere(self) -> dict[str, str]:
        """Settings of a graph elsewhere, which is started for them."""
        spice = self.stack.enter_context(run_spicedb())
        return {
            "REMIT_AUTHZ_ENGINE": "spicedb",
            "REMIT_SPICEDB_ENDPOINT": spice.endpoint,
            "REMIT_SPICEDB_TOKEN": spice.token,
            "REMIT_SPICEDB_TLS": "false",
        }

    def run(self, command: str, code: int = 0, **environment: str) -> str:
        ran = remit(*command.split(), REMIT_DATABASE_URL=self.dsn, **environment)
        assert ran.returncode == code, f"{command}\n{ran.stdout}{ran.stderr}"
        return ran.stdout

    def reconcile(self, arguments: str = "", *, code: int = 0, elsewhere: bool = False) -> Any:
        environment = self.elsewhere if elsewhere else {}
        return json.loads(self.run(f"authz reconcile {arguments} --json", code=code, **environment))

    def make_task(self, *, registered: bool = False, creator: bool = True) -> str:
        """A task as a row alone, or registered by hand."""
        (row,) = self.query(
            "INSERT INTO tasks (id, tenant_id, agent_id, status, creator_user_id)"
            " SELECT uuidv7(), a.tenant_id, a.id, 'RUNNING',"
            " CASE WHEN %s THEN (SELECT id FROM subjects WHERE external_id = 'alice') END FROM agents a"
            " RETURNING id::text AS id",
            creator,
        )
        if registered:
            self.run("authz reconcile --tenant acme --type task --apply", code=0)
        return str(row["id"])


@pytest.fixture
def site(database: str) -> Iterator[Site]:
    make_world_blocking(database, agents=("echo",))
    with ExitStack() as stack:
        yield Site(database, stack)


def classes(report: Any) -> dict[str, int]:
    found: dict[str, int] = {}
    for one in report["types"]:
        for kind, count in one["found"].items():
            found[kind] = found.get(kind, 0) + count
    return found


def test_drift_between_rows_and_relationships(site: Site) -> None:
    assert classes(site.reconcile()) in ({}, {"no_creator": 1})
    alone, whole, orphan = site.make_task(), site.make_task(registered=True), site.make_task(registered=True)
    nobody = site.make_task(creator=False)
    site.query(
        "DELETE FROM relationships WHERE resource_id = %s::uuid AND relation ="
        " (SELECT code FROM authz_relations WHERE name = 'owner')",
        whole,
    )
    site.query("UPDATE tasks SET status = 'DELETED' WHERE id = %s::uuid", orphan)
    site.query("DELETE FROM relationships WHERE resource_id = %s::uuid", alone)

    told = site.reconcile("--type task", code=1)
    assert classes(told) == {"unregistered": 2, "missing_owner": 1, "dangling": 1, "no_creator": 1}
    assert site.relations(alone) == [], "a dry run writes nothing"

    kept = site.reconcile("--type task --apply", code=1)
    assert [one["left"] for one in kept["types"] if one["compared"]] == [1], "what dangles is removed only when named"
    assert site.relations(alone) == site.relations(whole) == ["owner", "parent_agent", "tenant"]
    assert site.relations(nobody) == ["parent_agent", "tenant"]
    assert site.relations(orphan) != []

    site.reconcile("--type task --apply --prune 1")
    assert site.relations(orphan) == []
    assert classes(site.reconcile("--type task")) == {"no_creator": 1}
    text = site.run("authz reconcile --tenant acme")
    assert "clean: rows and relationships agree" in text
    history = site.query("SELECT DISTINCT actor FROM relationship_history WHERE resource_id = %s::uuid", orphan)
    assert [row["actor"].partition(":")[0] for row in history] == ["operator"]


def test_a_wrong_tenant_is_told_and_never_rewritten(site: Site) -> None:
    task = site.make_task(registered=True)
    site.query(
        "UPDATE relationships SET subject_id = (SELECT id FROM tenants WHERE name = 'globex')"
        " WHERE resource_id = %s::uuid AND relation = (SELECT code FROM authz_relations WHERE name = 'tenant')",
        task,
    )
    told = site.reconcile("--tenant acme --type task --apply", code=1)
    assert classes(told)["wrong_tenant"] == 1
    (row,) = site.query(
        "SELECT n.name FROM relationships r JOIN tenants n ON n.id = r.subject_id WHERE r.resource_id = %s::uuid"
        " AND r.relation = (SELECT code FROM authz_relations WHERE name = 'tenant')",
        task,
    )
    assert row["name"] == "globex"


def test_drift_between_relationships_and_the_graph_elsewhere(site: Site) -> None:
    task = site.make_task(registered=True)
    told = site.reconcile(code=1, elsewhere=True)
    assert classes(told)["not_delivered"] >= 3, "nothing was ever delivered"
    repaired = site.reconcile("--apply", elsewhere=True)
    assert sum(one["left"] for one in repaired["types"]) == 0
    assert site.reconcile(elsewhere=True)["clean"]

    # A revocation that never reached the graph: the relationship is gone here, and not in the outbox.
    site.query(
        "WITH gone AS (DELETE FROM relationships WHERE resource_id = %s::uuid AND relation ="
        " (SELECT code FROM authz_relations WHERE name = 'owner') RETURNING *)"
        " INSERT INTO relationship_history (resource_type, resource_id, relation, subject_type, subject_id,"
        " subject_relation, expires_at, written_xid) SELECT * FROM gone",
        task,
    )
    site.query("UPDATE tasks SET creator_user_id = NULL WHERE id = %s::uuid", task)
    assert classes(site.reconcile("--type task", code=1, elsewhere=True))["not_removed"] == 1
    site.reconcile("--apply --type task", elsewhere=True)
    assert site.reconcile("--type task", elsewhere=True)["clean"]


def test_a_restored_database_takes_back_what_it_does_not_remember(site: Site) -> None:
    site.make_task(registered=True)
    site.reconcile("--apply", elsewhere=True)
    tables = ("relationships", "relationship_history", "projections", "projected_relationships")
    for table in tables:
        site.query(f"CREATE TABLE saved_{table} AS TABLE {table}")
    (task,) = site.query("SELECT id::text AS id FROM tasks")
    site.run(f"authz grant task:{task['id']} viewer user:bob --tenant acme", code=0, **site.elsewhere)
    site.query("DELETE FROM outbox")
    site.reconcile("--apply", elsewhere=True)
    for table in tables:
        overriding = " OVERRIDING SYSTEM VALUE" if table == "relationship_history" else ""
        site.query(f"DELETE FROM {table}")
        site.query(f"INSERT INTO {table}{overriding} SELECT * FROM saved_{table}")
        site.query(f"DROP TABLE saved_{table}")
    plain = site.reconcile("--type task", elsewhere=True)
    assert classes(plain)["foreign"] == 1, "without the word nothing is known of it"
    site.reconcile("--type task --apply --after-restore", elsewhere=True)
    assert classes(site.reconcile("--type task", elsewhere=True)) == {}


def test_a_run_that_was_killed_goes_on(site: Site) -> None:
    site.query(
        "INSERT INTO tasks (id, tenant_id, agent_id, status) SELECT uuidv7(), a.tenant_id, a.id, 'RUNNING'"
        " FROM agents a, generate_series(1, 1200)"
    )
    command = [
        sys.executable,
        "-m",
        "remit",
        "authz",
        "backfill",
        "--tenant",
        "acme",
        "--type",
        "task",
        "--rate",
        "500",
    ]
    # On a terminal it shows how far it is.
    seen, terminal = os.openpty()
    environment = clean_environment(REMIT_DATABASE_URL=site.dsn, TERM="xterm")
    process = subprocess.Popen(command, env=environment, stderr=terminal)
    os.close(terminal)
    try:
        shown = b""
        while not re.search(rb"acme: task .* \d+/1200 \d:\d\d:\d\d", COLOURS.sub(b"", shown)):
            shown += os.read(seen, 65536)
        while not (rows := site.query("SELECT report FROM authz_reconciling")) or not rows[0]["report"].get("compared"):
            assert process.poll() is None, "it ended before it was killed"
    finally:
        process.kill()
        process.wait()
        os.close(seen)
    before = site.query("SELECT report FROM authz_reconciling")[0]["report"]["compared"]
    assert 0 < before < 1200
    report = json.loads(site.run("authz backfill --tenant acme --type task --rate 100000 --json"))
    assert report["types"][0]["compared"] == 1200
    assert set(report["types"][0]["repaired"]) == {"unregistered"}
    assert site.query("SELECT count(*) AS n FROM authz_reconciling") == [{"n": 0}]
    assert site.reconcile("--tenant acme --type task --rate 100000")["clean"]


def test_a_tenant_whose_new_resources_are_not_registered_is_not_backfilled(site: Site) -> None:
    site.run("tenants add adopted --adopt")
    told = site.run("authz backfill --tenant adopted", code=2)
    assert told == ""
