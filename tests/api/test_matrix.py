"""Routes x callers x states: each status as the table says it, and nothing of a resource for whom it is denied."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from fastapi.routing import APIRoute
from support.agent import FakeAgent
from support.graph import Party, Seeder
from support.matrix import ASKS, CALLERS, STATES, MatrixWorld, Target, ask_for, in_parallel

from remit.app import ROUTERS
from remit.unbuilt import router as unbuilt

TABLE = Path(__file__).parent / "matrix" / "table.txt"


@dataclass(frozen=True)
class Cell:
    """What one caller is answered about a resource in one state: `ok`, `ok*` or the status of a refusal."""

    route: str
    state: str
    caller: str
    answer: str


def read_table() -> Iterator[Cell]:
    """The cells of both tables, each with its heading in front of indented rows."""
    answers: dict[str, list[str]] = {}
    heading: list[str] = []
    for line in TABLE.read_text().splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        words = line.split()
        if not line.startswith(" "):
            heading = words
        elif heading[0] == "answers":
            answers[words[0]] = words[1:]
            assert tuple(heading[1:]) == CALLERS
            assert len(words) == len(heading), line
        else:
            assert tuple(heading[1:]) == STATES
            route, rows = " ".join(words[: -len(STATES)]), words[-len(STATES) :]
            for state, row in zip(STATES, rows, strict=True):
                for caller, answer in zip(CALLERS, answers[row], strict=True):
                    yield Cell(route, state, caller, answer)


def test_the_table_has_every_route() -> None:
    """Operations that are not built are the same for everybody; `test_unbuilt.py` has them."""
    served = {
        f"{method} {route.path}"
        for one in ROUTERS
        if one is not unbuilt
        for route in one.routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    }
    cells = list(read_table())
    assert {" ".join(cell.route.split()[:2]) for cell in cells} == served
    assert {cell.route for cell in cells} == set(ASKS)
    complete = {(route, state, caller) for route in ASKS for state in STATES for caller in CALLERS}
    assert {(cell.route, cell.state, cell.caller) for cell in cells} == complete
    assert len(cells) == len(complete), "a cell stands twice"


async def test_every_cell(seed: Seeder, fake: FakeAgent) -> None:
    world = MatrixWorld(seed, fake.url)
    await world.make_callers()
    # A present resource of each caller's own where it is changed; the other requests change nothing.
    shared = {(route, state): await world.make_target(ask, state) for route, ask in ASKS.items() for state in STATES}
    cells = [(cell, await _target(world, shared, cell)) for cell in read_table()]
    await world.write()
    own = {type: await world.key_of(agent) for type, agent in world.home.agents.items()}

    async def ask(cell: Cell, target: Target) -> str | None:
        party = await _caller(world, own, cell, target)
        status, told = await ask_for(party, cell.route, ASKS[cell.route], target.ids)
        marked = target.ids["mark"] in told
        answer = ("ok*" if marked else "ok") if status in (200, 204) else str(status)
        if answer == cell.answer and not (marked and status >= 400):
            return None
        return f"{cell.route}, {cell.state}, {cell.caller}: {answer} instead of {cell.answer}: {told}"

    wrong = [found for found in await in_parallel([ask(*one) for one in cells]) if found]
    assert not wrong, "\n".join([f"{len(wrong)} of {len(cells)} cells are not as the table says:", *wrong[:100]])


async def _target(world: MatrixWorld, shared: dict[tuple[str, str], Target], cell: Cell) -> Target:
    changed = cell.state == "present" and not cell.route.startswith("GET")
    if changed or ASKS[cell.route].takes:
        return await world.make_target(ASKS[cell.route], cell.state)
    return shared[cell.route, cell.state]


async def _caller(world: MatrixWorld, own: Mapping[str, Party], cell: Cell, target: Target) -> Party:
    if cell.caller != "own-agent":
        return world.home.callers[cell.caller]
    if ASKS[cell.route].on == "agent" and cell.state == "present":
        return await world.key_of(target.own_agent)
    return own[ASKS[cell.route].agent]
