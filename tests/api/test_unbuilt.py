"""Every operation of the contract is served or refused by name, and the refusal says nothing to strangers."""

import re
from pathlib import Path

import pytest
from fastapi.routing import APIRoute
from support.graph import World

from remit.app import ROUTERS
from remit.ids import new_id
from remit.unbuilt import UNBUILT, router

CONTRACT = Path(__file__).parent / "contract_operations.txt"
OPERATIONS = [operation for operations in UNBUILT.values() for operation in operations]
LEFT = 29
"""How many operations are not built: to be lowered with the table, and never raised."""


def without_names(path: str) -> str:
    """The path with its parameters unnamed: what they are called is nobody's business."""
    return re.sub(r"\{[^}]*\}", "{}", path)


def contract() -> set[tuple[str, str]]:
    operations = (line.split() for line in CONTRACT.read_text().splitlines())
    return {(method, without_names(path)) for method, path in operations}


def test_every_operation_of_the_contract_is_served_or_in_the_table() -> None:
    served = {
        (method, without_names(route.path))
        for one in ROUTERS
        if one is not router
        for route in one.routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    }
    refused = {(method, without_names(path)) for method, path in OPERATIONS}
    assert len(contract()) == 92
    assert contract() - served - refused == set(), "neither served nor refused"
    assert served & refused == set(), "built, and so to be taken from the table"
    assert refused - contract() == set(), "no operation of the contract"
    assert len(OPERATIONS) == len(refused) == LEFT


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
async def test_an_operation_that_is_not_built_says_so(world: World, method: str, path: str) -> None:
    real = re.sub(r"\{[^}]*\}", lambda _: new_id(), path.replace("{path:path}", "a/b"))
    response = await world.alice.call(method, real, json={} if method != "GET" else None)
    body = response.json()
    assert (response.status_code, body["type"]) == (404, "urn:remit:problem:not-implemented")
    assert body["message"]
    assert response.headers["x-should-retry"] == "false"
    assert (await world.nobody.call(method, real)).status_code == 401
