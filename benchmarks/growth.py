"""What a check, a page and a bulk check cost as the data grows, and how much memory: `scripts/bench growth`."""

import argparse
import multiprocessing
import re
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import matplotlib as mpl
import uvloop
from graph.data import load, warm_up
from graph.questions import BY_KEY, FETCH_100, UNFILTERED, Questions
from graph.samples import draw_samples
from graph.timing import measure

from remit.db.embedded import EmbeddedPostgres
from remit.db.pool import Database
from remit.migrations.run import upgrade

mpl.use("Agg")
from matplotlib import pyplot as plt

SERVER = {"shared_buffers": "2GB", "max_wal_size": "4GB"}
SHOWN = (
    BY_KEY,
    "check, depth 1 (owner)",
    "check, nested groups",
    UNFILTERED,
    "first page, a member drawn at random",
    FETCH_100,
    "bulk of 100, a member drawn at random",
)


@dataclass(frozen=True, slots=True)
class Found:
    """What one size costs.

    Attributes:
        relationships: how many there are.
        milliseconds: of each row in `SHOWN`, the tenth fastest of a hundred calls.
        client: MiB that this process holds after all the calls; each size has a process of its own.
        backend: MiB that the server's process of the connection holds for itself, without the shared buffers.
    """

    relationships: int
    milliseconds: dict[str, float]
    client: float
    backend: float


def measure_size(folder: Path, tasks: int, rounds: int) -> Found:
    """Load one size, or find it loaded, and measure it."""
    server = EmbeddedPostgres.start_blocking(folder, options=SERVER)
    try:
        upgrade(server.dsn)
        return uvloop.run(_ask(server.dsn, tasks, rounds))
    finally:
        server.stop_blocking()


async def _ask(dsn: str, tasks: int, rounds: int) -> Found:
    plain = await asyncpg.connect(dsn)
    data, engine = await load(plain, tasks)
    samples = await draw_samples(plain, data, 1)
    await warm_up(plain)
    await plain.close()
    database = await Database.open(dsn, size=1)
    rows = [row for row in Questions(database, engine, data, samples).make_rows() if row.name in SHOWN]
    await measure(database, rows, rounds, 1)
    async with database.connection() as connection:
        backend = await connection.fetchval("SELECT pg_backend_pid()")
        memory = _memory("self", "VmRSS"), _memory(str(backend), "RssAnon")
    await database.close()
    return Found(data.relationships, {row.name: row.percentile(0.1) * 1000 for row in rows}, *memory)


def _memory(process: str, kind: str) -> float:
    found = re.search(rf"^{kind}:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text(), re.MULTILINE)
    assert found is not None, "the kernel tells it"
    return int(found[1]) / 1024


def draw(found: dict[int, Found], folder: Path) -> None:
    """Write `engine-growth.png` and `.svg`: times above, memory below."""
    figure, (times, memory) = plt.subplots(2, 1, figsize=(8, 7), sharex=True, height_ratios=(3, 1))
    sizes = sorted(found)
    alone = {BY_KEY, UNFILTERED, FETCH_100}
    for name in SHOWN:
        style = "--" if name in alone else "-"
        times.plot(sizes, [found[size].milliseconds[name] for size in sizes], style, marker="o", label=name)
    times.set(yscale="log", ylabel="ms, the tenth fastest of a hundred calls")
    times.set_title("Cost as the data grows; dashed: the same without authorization")
    memory.plot(sizes, [found[size].client for size in sizes], marker="o", label="the process that asks")
    memory.plot(sizes, [found[size].backend for size in sizes], marker="o", label="the server's process that answers")
    memory.set(xscale="log", xlabel="tasks", ylabel="MiB", ylim=(0, None))
    for axes in (times, memory):
        axes.grid(visible=True, which="both", alpha=0.3)
        axes.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))
    folder.mkdir(parents=True, exist_ok=True)
    for ending in ("png", "svg"):
        figure.savefig(folder / f"engine-growth.{ending}", bbox_inches="tight", dpi=120)


def render(found: dict[int, Found]) -> str:
    """The table in Markdown."""
    lines = [
        f"| tasks | relationships | {' | '.join(SHOWN)} | MiB of the process that asks | MiB of the server's process |",
        "| --: | --: |" + " --: |" * (len(SHOWN) + 2),
    ]
    for size, one in sorted(found.items()):
        times = " | ".join(f"{one.milliseconds[name]:.3f}" for name in SHOWN)
        lines.append(f"| {size:,} | {one.relationships:,} | {times} | {one.client:.0f} | {one.backend:.1f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="What checks and lists cost as the data grows.")
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--keep", type=Path, help="keep the data in a folder here, one per size, and use it again")
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks"))
    arguments = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory(prefix="remit-bench-") as scratch:
        # A fresh process for each size: what an earlier one left in memory would hide the difference.
        context = multiprocessing.get_context("spawn")
        for size in arguments.sizes:
            with ProcessPoolExecutor(1, mp_context=context) as process:
                folder = (arguments.keep or Path(scratch)) / str(size)
                found[size] = process.submit(measure_size, folder, size, arguments.rounds).result()
    print(render(found))
    draw(found, arguments.out)


if __name__ == "__main__":
    main()
