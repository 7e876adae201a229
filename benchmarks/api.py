"""Speed of the whole server beside a route that does nothing: `scripts/bench api [--output docs/benchmarks]`.

Parts may be measured by several runs into one folder: `--tasks 1000 --parts requests` and so on. Each holds its own
reference. `--profile CASE` looks at where the server's time goes instead of measuring.
"""

import argparse
import asyncio
import os
import platform
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import asyncpg
import uvloop
from traffic.besides import measure_first_chunk, measure_memory
from traffic.cases import BARE, ONE_MESSAGE, Case, Cases
from traffic.load import Client
from traffic.page import write_page
from traffic.plot import write_plot
from traffic.processes import Served, run_agent, run_server
from traffic.profile import take_profile
from traffic.profile_page import write_profiles
from traffic.results import Part, Results, load, save
from traffic.rounds import IN_FLIGHT, Site, measure, say
from traffic.workers import measure_workers
from traffic.world import make_world

from remit.db.embedded import EmbeddedPostgres
from remit.migrations.run import upgrade

_REVISION = subprocess.run(
    ["git", "describe", "--always", "--dirty"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
).stdout.strip()


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, nargs="*", default=[1_000, 1_000_000], help="tasks in each database")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of one case in one round")
    parser.add_argument("--requests", type=int, default=40_000, help="of the look at memory")
    parser.add_argument("--only", help="cases whose name has this; for trying out")
    parser.add_argument("--parts", nargs="*", default=["requests", "besides"], help="of the page")
    parser.add_argument("--profile", nargs="+", default=[], metavar="CASE", help="only look at where time goes")
    parser.add_argument("--profile-missed", action="store_true", help="look at what is too slow, when all is measured")
    parser.add_argument("--profile-seconds", type=float, default=10)
    parser.add_argument("--output", type=Path, help="folder of the page, the plot and the result file")
    return parser.parse_args()


def main() -> None:
    options = read_options()
    # A run that is cut short stops its database as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by a signal"))
    results = load(options.output / "api.json") if options.output else Results()
    # Not under /tmp with a long name: a socket's path is bounded.
    with tempfile.TemporaryDirectory(prefix="rb-") as folder, run_agent() as agent:
        Path(folder).chmod(0o755)
        postgres = EmbeddedPostgres.start_blocking(Path(folder))
        try:
            for tasks in options.tasks:
                dsn = _make_database(postgres.dsn, f"bench_{tasks}")
                with run_server(dsn, agent) as server, run_server(dsn, agent) as second:
                    assert postgres.pid is not None, "it was started"
                    site = Site(dsn, server, postgres.pid, tasks)
                    uvloop.run(_run(site, second, f"http://127.0.0.1:{agent.port}", results, options))
                _keep(results, options)
        finally:
            postgres.stop_blocking()
    print(write_profiles(list(results.profiles.values())) if options.profile else write_page(results))


async def _run(site: Site, second: Served, agent: str, results: Results, options: argparse.Namespace) -> None:
    say(f"nothing yet: making {site.tasks:,} tasks")
    world = await make_world(site.dsn, agent, site.tasks)
    client = Client([site.server.port], IN_FLIGHT)
    await client.open()
    cases = Cases(world, client)
    await cases.prepare()
    environment = {**await _describe(site), "tasks compared by the reconciler:": f"{world.checked:,}"}
    wanted = [*cases.references(), *cases.rows(), *await cases.lists()]
    if "requests" in options.parts and not options.profile:
        name = f"{site.tasks:,} tasks"
        rows = await measure(site, _narrow(wanted, options.only), client, options.rounds, options.seconds)
        results.parts[name] = Part(name, {**environment, "rounds": str(options.rounds), **_load()}, rows)
    for case in _choose_profiled(wanted, results, options):
        say(f"where the time goes in {case.name}")
        results.profiles[case.name] = await take_profile(site, client, case, options.profile_seconds, environment)
    if options.profile_missed:
        # A profile of what has become fast enough is of an older server.
        still = {row.name for row in results.missed()} | {BARE}
        results.profiles = {name: one for name, one in results.profiles.items() if name in still}
    client.close()
    if "besides" in options.parts and not options.profile and site.tasks == options.tasks[0]:
        say("the first chunk, two servers, memory")
        limits = await measure_first_chunk(site.server, cases, max(options.requests // 400, 10))
        limits += await measure_workers([site.server, second], cases, options.rounds, options.requests // 20)
        limits += await measure_memory(site.server, cases, options.requests)
        results.parts["Besides"] = Part("Besides", {**environment, **_load()}, limits=limits)


def _narrow(cases: list[Case], only: str | None) -> list[Case]:
    """References, and cases whose name has a text."""
    return [case for case in cases if not only or case.wanted is None or only in case.name or case.name == ONE_MESSAGE]


def _choose_profiled(cases: list[Case], results: Results, options: argparse.Namespace) -> list[Case]:
    missed = {row.name for row in results.missed()} | {BARE} if options.profile_missed else set()
    return [case for case in cases if case.name in missed or any(name in case.name for name in options.profile)]


def _keep(results: Results, options: argparse.Namespace) -> None:
    """Write the file, and page and plot from what is in it."""
    if options.output is None:
        return
    save(options.output / "api.json", results)
    kept = load(options.output / "api.json")
    (options.output / "api.md").write_text(write_page(kept))
    (options.output / "api-profiles.md").write_text(write_profiles(list(kept.profiles.values())))
    write_plot(options.output, kept)


def _make_database(dsn: str, name: str) -> str:
    async def create() -> None:
        connection = await asyncpg.connect(dsn)
        await connection.execute(f"CREATE DATABASE {name}")
        await connection.close()

    asyncio.run(create())
    made = dsn.replace("@/remit?", f"@/{name}?")
    upgrade(made)
    return made


async def _describe(site: Site) -> dict[str, str]:
    connection = await asyncpg.connect(site.dsn)
    try:
        version = await connection.fetchval("SHOW server_version")
        names = ("shared_buffers", "fsync", "synchronous_commit")
        shown = [f"{name} {await connection.fetchval(f'SHOW {name}')}" for name in names]
    finally:
        await connection.close()
    return {
        "PostgreSQL": f"{version} ({', '.join(shown)})",
        "Python": platform.python_version(),
        "cores:": str(os.cpu_count()),
        "revision": _REVISION,
    }


def _load() -> Mapping[str, str]:
    return {"load at the end": f"{os.getloadavg()[0]:.1f}"}


if __name__ == "__main__":
    main()
