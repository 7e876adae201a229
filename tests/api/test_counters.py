"""Counters are open to everybody, so they must not tell what a 404 does not."""

import re

from support.agent import FakeAgent
from support.graph import World

from remit.ids import new_id


async def count_outcomes(world: World) -> dict[str, float]:
    text = (await world.nobody.get("/metrics")).text
    pattern = r'remit_authorization_checks_total\{outcome="(\w+)",permission="read",type="task"\} ([\d.e+]+)'
    return {outcome: float(count) for outcome, count in re.findall(pattern, text)}


async def test_absent_and_unreadable_count_alike(own_world: World, fake: FakeAgent) -> None:
    task = await own_world.alice.make_task(await own_world.make_agent(fake.url))
    changes = []
    for id in (task["id"], new_id()):
        before = await count_outcomes(own_world)
        assert (await own_world.mallory.get(f"/tasks/{id}")).status_code == 404
        after = await count_outcomes(own_world)
        changes.append(
            {outcome: n - before.get(outcome, 0) for outcome, n in after.items() if n != before.get(outcome, 0)}
        )
    assert changes[0] == changes[1] != {}
