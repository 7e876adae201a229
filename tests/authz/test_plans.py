"""What `remit authz explain-plan` says of a permission."""

from importlib.resources import files

import asyncpg

from remit.authz.plan import describe_plan
from remit.authz.postgres import PostgresEngine

SCHEMA = files("remit.authz").joinpath("schema.zed").read_text()
FOLDERS = """
definition user {}
definition folder {
    relation parent: folder
    relation viewer: user
    relation blocked: user
    permission read = viewer + parent->read
    permission open = viewer - blocked
}
"""


async def test_the_shipped_schema_merges_and_asks_the_gate_late(connection: asyncpg.Connection) -> None:
    engine = await PostgresEngine.load(connection, SCHEMA, "remit", replace=True)
    plan = describe_plan(engine, "task", "read")
    assert all("then asks of the merged ids tenant -> tenant#access" in branch for branch in plan.branches)
    assert "group#member (walked up, level by level)" in plan.whole_sets
    assert plan.forms[0].startswith("ordered merge")
    # No agent is ever an owner of a tenant or its admin, so that there is nothing to list.
    assert describe_plan(engine, "tenant", "manage", "agent").forms == ()


async def test_a_recursion_over_what_is_listed_is_named(connection: asyncpg.Connection) -> None:
    engine = await PostgresEngine.load(connection, FOLDERS, "test", replace=True)
    plan = describe_plan(engine, "folder", "read")
    assert plan.whole_sets == ("folder#read (recursive over what is listed: as many as the caller may see)",)
    assert "recursive over what is listed" in plan.forms[0]
    assert describe_plan(engine, "folder", "open").branches == (
        "the caller as viewer, then asks of the merged ids not (the caller as blocked)",
    )
