"""How long `remit db lint` takes for a long history, beside squawk alone on the same SQL: `scripts/bench lint`.

Writes docs/benchmarks/lint.md. Both are started anew for each measurement, one after the other.
"""

import argparse
import platform
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from remit.migrations.lint.project import load_project
from remit.migrations.lint.run import read_history

ROOT = Path(__file__).parents[1]
HISTORIES = ROOT / "tests" / "lint" / "histories"
TARGET = ROOT / "docs" / "benchmarks" / "lint.md"
LIMIT = 3.0
SCRIPTS = Path(sysconfig.get_path("scripts"))


def write_sql(config: Path, folder: Path) -> tuple[int, int, int]:
    """Write what each revision runs to a file of its own; revisions, statements, those executed to be judged."""
    history, executed, _ = read_history(load_project(config))
    for number, view in enumerate(history.revisions):
        sql = "".join(f"{step.statement.sql};\n" for step in view.upgrade)
        (folder / f"{number:04}.sql").write_text(sql)
    return len(history.revisions), sum(len(view.upgrade) for view in history.revisions), len(executed)


def measure(command: Sequence[str], rounds: int) -> float:
    """The median, in seconds."""
    taken = []
    for _ in range(rounds):
        started = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        taken.append(time.perf_counter() - started)
        if done.returncode not in (0, 1):
            sys.exit(f"{command[0]} ended with {done.returncode}: {done.stderr}")
    return statistics.median(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    rows, late = [], []
    for config in sorted(HISTORIES.glob("*/alembic.ini")):
        name = config.parent.name
        with tempfile.TemporaryDirectory(prefix="remit-bench-") as folder:
            revisions, statements, executed = write_sql(config, Path(folder))
            files = sorted(str(file) for file in Path(folder).glob("*.sql"))
            alone = measure([str(SCRIPTS / "squawk"), "--reporter", "json", *files], rounds)
        ours = measure([str(SCRIPTS / "remit"), "db", "lint", "--config", str(config), "--format", "json"], rounds)
        print(f"{name}: squawk {alone:.2f} s, remit db lint {ours:.2f} s", flush=True)
        cells = (name, revisions, statements, executed, f"{alone:.2f} s", f"{ours:.2f} s", f"{ours - alone:.2f} s")
        rows.append(f"| {' | '.join(str(cell) for cell in cells)} |")
        if ours - alone > LIMIT:
            late.append(name)
    TARGET.write_text("\n".join([*make_head(rounds), *rows, "", *ABOUT]) + "\n")
    if late:
        sys.exit(f"more than {LIMIT:.0f} s over squawk: {', '.join(late)}")


def make_head(rounds: int) -> list[str]:
    return [
        "# The time of a lint",
        "",
        f"Written by `scripts/bench lint` on {datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()};",
        f"two cores, medians of {rounds} runs, each a new process.",
        "",
        "| history | revisions | statements | executed | squawk alone | remit db lint | more |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]


ABOUT = (
    (
        "Squawk gets the SQL of the upgrades, ready in files. `remit db lint` starts Python, renders "
        "upgrades and downgrades, parses them, reads the code, asks squawk about both and judges by its own rules. "
        f"It may take {LIMIT:.0f} s more. Revisions that Alembic cannot render are executed in an embedded scratch "
        "database, after all before them: that is in the figure. The first run on a machine takes some seconds more: "
        "it makes the empty cluster that later ones start from."
    ),
)


if __name__ == "__main__":
    main()
