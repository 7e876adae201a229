"""What is no share of a reference: the first chunk of a stream, a second server's cost, the growth of memory."""

import random
import statistics
from collections.abc import Sequence

import orjson

from traffic.cases import Cases
from traffic.load import Client, Connection
from traffic.processes import Served
from traffic.results import Limit
from traffic.rounds import IN_FLIGHT

MOST_LATE_MS = 4.0
MOST_OF_ONE = 1.1
MOST_GROWTH_MIB = 5.0


async def measure_first_chunk(server: Served, cases: Cases, messages: int) -> list[Limit]:
    """From the agent's sending to the client's receiving of the first line, alone and with many streams open."""
    limits = []
    for in_flight, many in ((1, messages), (IN_FLIGHT, messages * 4)):
        client = Client([server.port], in_flight)
        await client.open()
        await client.run(cases.talk, requests=in_flight * 2)
        late: list[float] = []

        def note(connection: Connection, late: list[float] = late) -> None:
            assert connection.first is not None, "it was answered"
            sent = int(orjson.loads(connection.body.split(b"\n", 1)[0])["result"]["content"]["content"])
            late.append((connection.first - sent) / 1e6)

        await client.run(cases.talk, requests=many, on_answer=note)
        client.close()
        told = "one stream at a time" if in_flight == 1 else f"{in_flight} streams open"
        limits += judge_late(late, told)
    return limits


def judge_late(late: Sequence[float], told: str) -> list[Limit]:
    """The middle one of some delays in milliseconds, and the one that 95 of 100 stay below."""
    ordered, detail = sorted(late), f"{len(late):,} messages"
    return [
        Limit(
            f"first chunk after the agent sent it, {told}: median, ms", statistics.median(late), MOST_LATE_MS, detail
        ),
        Limit("the same: p95, ms", ordered[len(ordered) * 95 // 100], MOST_LATE_MS, detail),
    ]


async def measure_workers(servers: Sequence[Served], cases: Cases, rounds: int, requests: int) -> list[Limit]:
    """Server CPU of a request with two processes behind one database, as a share of that with one, in turn."""
    costs: dict[int, list[float]] = {1: [], 2: []}
    for number in range(rounds + 1):
        for count, measured in costs.items():
            some = servers[:count]
            client = Client([one.port for one in some], IN_FLIGHT)
            await client.open()
            before = sum(one.cpu_seconds() for one in some)
            # The same requests in the same order for both; the first round only warms up.
            cases.draw_from(random.Random(number))
            await client.run(cases.mixed, requests=requests)
            if number:
                measured.append((sum(one.cpu_seconds() for one in some) - before) * 1000 / requests)
            client.close()
    return [judge_workers(costs[1], costs[2], requests)]


def judge_workers(one: Sequence[float], two: Sequence[float], requests: int) -> Limit:
    """The middle one of the rounds' shares.

    Args:
        one: milliseconds of CPU for a request with one process, a value a round.
        two: the same with two.
        requests: of each value.
    """
    shares = [both / alone for alone, both in zip(one, two, strict=True)]
    detail = (
        f"{statistics.median(two):.2f} ms and {statistics.median(one):.2f} ms; "
        f"{len(shares)} rounds of {requests:,} mixed requests, {min(shares):.2f} to {max(shares):.2f}"
    )
    return Limit("server CPU of a request, two processes to one", statistics.median(shares), MOST_OF_ONE, detail)


async def measure_memory(server: Served, cases: Cases, requests: int) -> list[Limit]:
    """The server's growth over the second half of mixed requests."""
    client = Client([server.port], IN_FLIGHT)
    await client.open()
    sizes = [server.mebibytes()]
    for _ in range(2):
        await client.run(cases.mixed, requests=requests // 2)
        sizes.append(server.mebibytes())
    client.close()
    detail = f"{', '.join(f'{size:.1f}' for size in sizes)} MiB before, after half and after all"
    name = f"growth of memory over the last {requests // 2:,} of {requests:,} mixed requests, MiB"
    return [Limit(name, sizes[2] - sizes[1], MOST_GROWTH_MIB, detail)]
