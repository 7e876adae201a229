"""The other linters: how each is called and its answer read. `python -m linters.tools` lists what to install."""

import json
import re
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

SECONDS = 120


@dataclass(frozen=True)
class Said:
    """What a linter says of one case.

    Args:
        findings: of any level.
        warnings: those of level warning or more, as the linter itself names its levels.
    """

    findings: int
    warnings: int


@dataclass(frozen=True)
class Tool:
    """A linter.

    Args:
        reads: `sql`, which gets what `alembic upgrade --sql` renders, or `revisions`, which gets the Python files.
        command: the program in its environment and its arguments; the files follow.
        read: from its exit status and output to what it says.
        for_downgrades: arguments that make it look at downgrades too, if it can.
        note: what a reader should know of the way it was asked.
    """

    name: str
    project: str
    version: str
    reads: str
    command: Sequence[str]
    read: Callable[[int, str], Said]
    for_downgrades: Sequence[str] = ()
    note: str = ""

    def ask(self, environments: Path, folder: Path, files: Sequence[str], *, downgrade: bool) -> Said:
        """Run it on files of a folder.

        Raises:
            RuntimeError: its answer cannot be read.
        """
        program = environments / f"{self.project}-{self.version}" / "bin" / self.command[0]
        command = [str(program), *self.command[1:], *(self.for_downgrades if downgrade else ()), *files]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=SECONDS)
        try:
            return self.read(done.returncode, done.stdout)
        except (ValueError, KeyError, TypeError) as error:
            raise RuntimeError(f"{self.name}, exit {done.returncode}: {done.stdout} {done.stderr}") from error


def count_levels(levels: Sequence[str], *, below: Sequence[str] = ()) -> Said:
    """All findings, and those whose level is not one of `below`."""
    return Said(len(levels), sum(level.lower() not in below for level in levels))


def read_squawk(_: int, output: str) -> Said:
    return count_levels([item["level"] for item in json.loads(output)])


def read_guard(_: int, output: str) -> Said:
    return count_levels([item["severity"] for item in json.loads(output)], below=("info", "note"))


def read_lockcheck(status: int, output: str) -> Said:
    if status not in (0, 1):
        raise ValueError(output)
    return count_levels(re.findall(r"^\s+\d+\s+(LC\d+)\s", output, re.MULTILINE))


def read_locksafe(_: int, output: str) -> Said:
    return count_levels([item["severity"] for item in json.loads(output)], below=("low", "info"))


def read_localtools(_: int, output: str) -> Said:
    statements = [statement for file in json.loads(output)["files"] for statement in file["statements"]]
    about = [item for item in statements if "alembic_version" not in item["sql"]]
    return count_levels([found["severity"] for item in about for found in item["findings"]], below=("low", "info"))


def read_zdm(_: int, output: str) -> Said:
    return count_levels([item.get("severity", "error") for item in json.loads(output)["diagnostics"]])


def read_alembic_lint(status: int, output: str) -> Said:
    if "*** Summary ***" not in output:
        raise ValueError(f"exit {status}")
    return count_levels(re.findall(r"^\(.+\)\.\.\. .*(ERR|WARNING)", output, re.MULTILINE))


def read_migratecheck(status: int, output: str) -> Said:
    if status:
        raise ValueError(output)
    return count_levels(output.split(), below=("safe",))


MIGRATECHECK = (
    "import sys, migratecheck\n"
    "print(*(risk.level.value for file in sys.argv[1:] for risk in migratecheck.analyze_sql(open(file).read())))"
)
STYLE = (
    "ban-char-field,prefer-bigint-over-int,prefer-bigint-over-smallint,prefer-identity,prefer-robust-stmts,"
    "prefer-text-field,prefer-timestamp-tz,require-lock-timeout,require-statement-timeout,require-timeout-settings"
)
TOOLS = (
    Tool("squawk", "squawk-cli", "2.70.0", "sql", ("squawk", "--reporter", "json"), read_squawk,
         note="with all of its rules, as it comes"),
    Tool("squawk, no style rules", "squawk-cli", "2.70.0", "sql", ("squawk", "--reporter", "json", "--exclude", STYLE),
         read_squawk, note="without its rules of style and of time limits, of which a safe change may have none"),
    Tool("alembic-guard", "alembic-guard", "0.1.1", "revisions", ("alembic-guard", "--format", "json"), read_guard,
         for_downgrades=("--include-downgrade",)),
    Tool("lockcheck", "lockcheck", "0.1.0", "revisions", ("lockcheck",), read_lockcheck),
    Tool("django-zdm", "django-zdm", "0.5.0", "revisions", ("zdm", "--output-format", "json"), read_zdm),
    Tool("alembic-migration-linter", "alembic-migration-linter", "0.1.4", "config",
         ("alembic-lint", "-c", "alembic.ini", "-s", "0001", "-d", "postgresql", "--no-cache"), read_alembic_lint),
    Tool("locksafe", "locksafe", "0.3.1", "sql", ("locksafe", "analyze", "--format", "json"), read_locksafe,
         note="its level LOW is below a warning"),
    Tool("localtools checker", "localtools-postgres-migration-checker", "1.0.4", "sql",
         ("localtools-postgres-migration-checker", "check", "--format", "json", "--fail-on", "never"), read_localtools,
         note="localtools-postgres-migration-checker; its levels low and info are below a warning, and what it says of "
         "Alembic's own table is left out"),
    Tool("migratecheck", "migratecheck", "0.2.0", "sql", ("python", "-c", MIGRATECHECK), read_migratecheck),
)  # fmt: skip
NOT_RUN = {
    "alembic-squawk": "splits rendered SQL for squawk and judges nothing itself: see squawk",
    "migration-lint": "takes only the changes of a git branch, and 0.2.13 does not start without GitPython, which it "
    "does not require",
    "db-guardrail": "needs a running PostgreSQL with the tables in it",
    "migcheck": "needs Docker and the queries of a release",
    "alembic-gauntlet": "fixtures for tests against a running database; it finds no hazards of locks",
}


if __name__ == "__main__":
    for project, version in dict.fromkeys((tool.project, tool.version) for tool in TOOLS):
        print(project, version)
