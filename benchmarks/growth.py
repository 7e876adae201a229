"""What a check, a page and a bulk check cost as the data grows, as a plot: `scripts/bench growth`."""

import argparse
import tempfile
from pathlib import Path

import asyncpg
import matplotlib as mpl
import uvloop
from graph.data import load
from graph.questions import BY_KEY, FETCH_100, UNFILTERED, Questions
from graph.samples import draw_samples
from graph.timing import Row, measure

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


async def ask(dsn: str, tasks: int, rounds: int) -> list[Row]:
    """Load one size and measure it."""
    plain = await asyncpg.connect(dsn)
    data, engine = await load(plain, tasks)
    samples = await draw_samples(plain, data, 1)
    await plain.close()
    database = await Database.open(dsn, size=1)
    rows = [row for row in Questions(database, engine, data, samples).make_rows() if row.name in SHOWN]
    await measure(database, rows, rounds, 1)
    await database.close()
    return rows


def draw(found: dict[int, list[Row]], folder: Path) -> None:
    """Write `engine-growth.png` and `.svg`."""
    figure, axes = plt.subplots(figsize=(8, 5))
    sizes = sorted(found)
    for place, name in enumerate(SHOWN):
        times = [found[size][place].percentile(0.1) * 1000 for size in sizes]
        style = "--" if found[sizes[0]][place].reference is None else "-"
        axes.plot(sizes, times, style, marker="o", label=name)
    axes.set(xscale="log", yscale="log", xlabel="tasks", ylabel="ms, the tenth fastest of a hundred calls")
    axes.set_title("Cost as the data grows; dashed: the same without authorization")
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))
    folder.mkdir(parents=True, exist_ok=True)
    for ending in ("png", "svg"):
        figure.savefig(folder / f"engine-growth.{ending}", bbox_inches="tight", dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description="What checks and lists cost as the data grows.")
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--keep", type=Path, help="keep the data in folders here, one per size")
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks"))
    arguments = parser.parse_args()
    found = {}
    for size in arguments.sizes:
        with tempfile.TemporaryDirectory(prefix="remit-bench-") as scratch:
            folder = arguments.keep / str(size) if arguments.keep else Path(scratch)
            server = EmbeddedPostgres.start_blocking(folder, options=SERVER)
            try:
                upgrade(server.dsn)
                found[size] = uvloop.run(ask(server.dsn, size, arguments.rounds))
            finally:
                server.stop_blocking()
    print("| tasks | " + " | ".join(SHOWN) + " |\n| --: |" + " --: |" * len(SHOWN))
    for size, rows in found.items():
        print(f"| {size:,} | " + " | ".join(f"{row.percentile(0.1) * 1000:.3f}" for row in rows) + " |")
    draw(found, arguments.out)


if __name__ == "__main__":
    main()
