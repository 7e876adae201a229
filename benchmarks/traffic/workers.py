"""What a second server process costs, beside what shows how much of that is the server's own doing."""

import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import orjson

from traffic.cases import BARE, Cases
from traffic.load import Client, encode
from traffic.processes import Served
from traffic.results import Limit
from traffic.rounds import IN_FLIGHT

MOST_OF_ONE = 1.1
_COUNT = encode(("GET", "/bare/count", {}, None))


@dataclass(frozen=True, slots=True)
class _Comparison:
    """Two processes beside one.

    Attributes:
        name: of the figure.
        make: a worker's next request.
        requests: how many, of each.
        in_flight: with two processes; with one it is `IN_FLIGHT`.
        most: what the share may be; None of what only explains the others.
    """

    name: str
    make: Callable[[int], bytes]
    requests: int
    in_flight: int = IN_FLIGHT
    most: float | None = None


async def measure_workers(servers: Sequence[Served], cases: Cases, rounds: int, requests: int) -> list[Limit]:
    """Server CPU of a request with two processes behind one database, as a share of that with one, in turn.

    Beside it: the same where each process has as many requests in flight as the one has, the same of a route that does
    nothing, and how many functions are called for a request, which is the same for the same work on any machine.
    """
    bare = next(case for case in cases.references() if case.name == BARE)
    comparisons = [
        _Comparison("server CPU of a request, two processes to one", cases.mixed, requests, most=MOST_OF_ONE),
        _Comparison(
            f"the same, with {IN_FLIGHT} requests in flight for each process", cases.mixed, requests, IN_FLIGHT * 2
        ),
        _Comparison("the same, of a bare route", bare.make, requests * 5),
    ]
    limits = [await _compare(one, servers, cases, rounds) for one in comparisons]
    calls = [await _count_calls(servers[:count], cases, requests) for count in (1, 2)]
    detail = f"{calls[1]:,.0f} and {calls[0]:,.0f}; {requests:,} mixed requests"
    return [*limits, Limit("functions called for a request, two processes to one", calls[1] / calls[0], None, detail)]


async def _compare(one: _Comparison, servers: Sequence[Served], cases: Cases, rounds: int) -> Limit:
    costs: dict[int, list[float]] = {1: [], 2: []}
    for number in range(rounds + 1):
        for count, measured in costs.items():
            some = servers[:count]
            client = Client([server.port for server in some], IN_FLIGHT if count == 1 else one.in_flight)
            await client.open()
            before = sum(server.cpu_seconds() for server in some)
            # The same requests in the same order for both; the first round only warms up.
            cases.draw_from(random.Random(number))
            await client.run(one.make, requests=one.requests)
            if number:
                measured.append((sum(server.cpu_seconds() for server in some) - before) * 1000 / one.requests)
            client.close()
    return judge_workers(one.name, costs[1], costs[2], one.requests, one.most)


def judge_workers(
    name: str, one: Sequence[float], two: Sequence[float], requests: int, most: float | None = MOST_OF_ONE
) -> Limit:
    """The middle one of the rounds' shares.

    Args:
        name: of the figure.
        one: milliseconds of CPU for a request with one process, a value a round.
        two: the same with two.
        requests: of each value.
        most: what it may be.
    """
    shares = [both / alone for alone, both in zip(one, two, strict=True)]
    detail = (
        f"{statistics.median(two):.2f} ms and {statistics.median(one):.2f} ms; "
        f"{len(shares)} rounds of {requests:,} requests, {min(shares):.2f} to {max(shares):.2f}"
    )
    return Limit(name, statistics.median(shares), most, detail)


async def _count_calls(servers: Sequence[Served], cases: Cases, requests: int) -> float:
    """Functions that the processes call for each of some mixed requests."""
    client = Client([server.port for server in servers], IN_FLIGHT)
    await client.open()
    cases.draw_from(random.Random(1))
    await _switch_counters(servers)
    await client.run(cases.mixed, requests=requests)
    calls = await _switch_counters(servers)
    client.close()
    return calls / requests


async def _switch_counters(servers: Sequence[Served]) -> int:
    """Begin to count, or end it; then what all have counted."""
    counted = 0
    for server in servers:
        client = Client([server.port], 1)
        await client.open()
        counted += orjson.loads((await client.one(_COUNT)).body)
        client.close()
    return counted
