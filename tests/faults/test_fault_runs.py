"""A few runs of `scripts/fault`, each with its plan: late writes, crashes between commit and delivery, a lost call."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from faults.beside import EngineName
from faults.choose import Plan
from faults.gate import Fault, Point
from faults.runs import Runner
from faults.site import PLANTED, Site, open_site
from remit.db.embedded import EmbeddedPostgres

WRITE = "WriteRelationships"
REGISTER, DEREGISTER = "/v1/authz/register", "/v1/authz/deregister"


def plan(number: int, operation: str, kind: str, label: str, fault: Fault) -> Plan:
    """Break the first call of a method during an operation."""
    return Plan(number, "enforce", operation, Point(operation, kind, "request", label, 1), fault)


AFTER_THE_REVOCATION = Fault("late", operations=1)
LATE_SHARE = plan(1, "share", "server-engine", WRITE, AFTER_THE_REVOCATION)
PLANS: dict[EngineName, Sequence[Plan]] = {
    "spicedb": [
        LATE_SHARE,
        plan(2, "join", "worker-engine", WRITE, AFTER_THE_REVOCATION),
        plan(3, "create", "server-engine", WRITE, Fault("lose")),
        plan(4, "revoke", "server-engine", WRITE, Fault("kill-server")),
    ],
    "http": [
        plan(5, "key-create", "server-engine", REGISTER, Fault("late", operations=3)),
        plan(6, "delete", "server-engine", DEREGISTER, Fault("cut", after=True)),
        plan(7, "create", "server-engine", REGISTER, Fault("lose")),
    ],
}


@pytest.mark.parametrize("engine", ["spicedb", "http"])
async def test_rows_and_relationships_stay_true(
    engine: EngineName, postgres: EmbeddedPostgres, database: str, tmp_path: Path
) -> None:
    async with (
        open_site(engine, tmp_path, postgres=postgres, dsn=database, learn_seconds=0) as site,
        Runner(site, tmp_path, batch=len(PLANS[engine]) + 1) as runner,
    ):
        outcomes = [await runner.run(one) for one in PLANS[engine]]
        assert [str(one.plan) for one in outcomes if not one.hit] == [], "whose message never came"
        assert {str(one.plan): one.problems for one in outcomes if one.problems} == {}
        if engine == "spicedb":
            await plant(site, "no-precondition")
            found = (await runner.run(LATE_SHARE)).problems
            assert any(one.startswith("after-revocation: bob read") for one in found), found


async def plant(site: Site, mutant: str) -> None:
    """Start the server again with a fault of its own."""
    site.server.kill()
    site.server.environment.update(REMIT_PLANTED=mutant, PYTHONPATH=str(PLANTED))
    await site.revive()
