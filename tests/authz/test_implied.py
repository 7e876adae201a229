"""A grant that implies the gate beside it is not asked for the gate; any other is."""

import pytest

from remit.authz.formula import All, Any, Hop, Node
from remit.authz.graph import Graph
from remit.authz.implied import free_implied
from remit.authz.schema import parse_schema

SCHEMA = """
use expiration
definition user {}
definition group {
    relation member: user | group#member
}
definition tenant {
    relation admin: user | group#member
    relation member: user
    relation guest: user with expiration
    permission access = admin + member
    permission open = access + guest
    permission managed = admin & member
}
definition task {
    relation tenant: tenant
    relation owner: user
    permission read = (owner + tenant->admin) & tenant->access
    permission wide = (owner + tenant->access) & tenant->admin
    permission other = (owner + tenant->member) & tenant->admin
    permission lapsing = (owner + tenant->guest) & tenant->open
    permission both = (owner + tenant->managed) & tenant->access
    permission alone = tenant->admin & tenant->access
}
"""


@pytest.mark.parametrize(
    ("permission", "free"),
    [
        ("read", ["admin"]),
        ("lapsing", ["guest"]),
        ("both", ["managed"]),
        ("wide", []),
        ("other", []),
        ("alone", []),
    ],
)
def test_what_needs_no_gate(permission: str, free: list[str]) -> None:
    graph = Graph(parse_schema(SCHEMA), "user", None)
    term = graph.expand(Node("task", permission))
    assert isinstance(term, All)
    freed = free_implied(graph, term)
    parts = freed.parts if isinstance(freed, Any) else ()
    assert [part.target.name for part in parts if isinstance(part, Hop)] == free
