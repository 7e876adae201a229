"""What is no share of a reference: the first chunk of a stream, and the growth of memory."""

import random
import statistics
from collections.abc import Callable, Sequence

import orjson

from traffic.agent import TALK_SECONDS
from traffic.cases import Cases
from traffic.load import Client, Connection
from traffic.processes import Served
from traffic.results import Limit
from traffic.rounds import IN_FLIGHT

MOST_LATE_MS = 4.0
MOST_GROWTH_MIB = 5.0


async def measure_first_chunk(server: Served, cases: Cases, messages: int) -> list[Limit]:
    """From the agent's sending to the client's receiving of the first line, alone and with many streams open."""
    numbers = random.Random(11)
    # So long, on average, does a worker wait as its stream then lasts: of twice as many workers half have one open.
    limits = await _measure_late(server, cases, 1, messages, "one stream at a time", lambda: 0.0)
    limits += await _measure_late(
        server,
        cases,
        IN_FLIGHT * 2,
        messages * 4,
        f"some {IN_FLIGHT} streams open, begun at random moments",
        lambda: numbers.uniform(0, 2 * TALK_SECONDS),
    )
    told = f"{IN_FLIGHT} streams open, all begun at one moment"
    return limits + await _measure_late(server, cases, IN_FLIGHT, messages * 4, told, lambda: 0.0)


async def _measure_late(
    server: Served, cases: Cases, workers: int, messages: int, told: str, pause: Callable[[], float]
) -> list[Limit]:
    client = Client([server.port], workers)
    await client.open()
    await client.run(cases.talk, requests=workers * 2)
    late: list[float] = []

    def note(connection: Connection) -> None:
        assert connection.first is not None, "it was answered"
        sent = int(orjson.loads(connection.body.split(b"\n", 1)[0])["result"]["content"]["content"])
        late.append((connection.first - sent) / 1e6)

    await client.run(cases.talk, requests=messages, on_answer=note, pause=pause)
    client.close()
    return judge_late(late, told)


def judge_late(late: Sequence[float], told: str) -> list[Limit]:
    """The middle one of some delays in milliseconds, and the one that 95 of 100 stay below."""
    ordered, detail = sorted(late), f"{len(late):,} messages"
    return [
        Limit(
            f"first chunk after the agent sent it, {told}: median, ms", statistics.median(late), MOST_LATE_MS, detail
        ),
        Limit("the same: p95, ms", ordered[len(ordered) * 95 // 100], MOST_LATE_MS, detail),
    ]


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
