"""`remit db rehearse`: run a revision of any Alembic project on a scratch server, beside readers and writers."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from remit.cli.context import fail
from remit.cli.output import print_line, print_note


class Format(StrEnum):
    """How the report is printed."""

    TEXT = "text"
    JSON = "json"
    HTML = "html"


def rehearse(
    config: Annotated[Path, typer.Option("--config", help="The project's Alembic configuration.")] = Path(
        "alembic.ini"
    ),
    rows: Annotated[int, typer.Option("--rows", min=1, help="How many rows the touched tables get.")] = 100_000,
    stats_from: Annotated[
        str | None,
        typer.Option("--stats-from", help="A server whose statistics, not data, give the rows and proportions."),
    ] = None,
    revision: Annotated[
        str | None, typer.Option("--revision", help="The revision, or LOWER:UPPER for several [default: head].")
    ] = None,
    output: Annotated[Format, typer.Option("--format", help="How to print the report.")] = Format.TEXT,
    seed_sql: Annotated[
        Path | None, typer.Option("--seed-sql", help="SQL that makes rows where none can be made up.")
    ] = None,
    max_stall: Annotated[
        float, typer.Option("--max-stall", min=0, help="The longest, in ms, that a reader or a writer may wait.")
    ] = 50.0,
    old_queries: Annotated[
        Path | None, typer.Option("--old-queries", help="Queries of the running code, to try after the revision.")
    ] = None,
    measured_rows: Annotated[
        int, typer.Option("--measured-rows", min=1, help="The most rows to make; beyond, times are extrapolated.")
    ] = 1_000_000,
    postgres: Annotated[
        Path | None,
        typer.Option("--postgres", help="The folder with the `bin` of a PostgreSQL to use, for its extensions."),
    ] = None,
    url_variable: Annotated[
        list[str] | None, typer.Option("--url-variable", help="An environment variable that env.py reads its URL from.")
    ] = None,
) -> None:
    """Run a revision on a server full of rows, beside readers and writers, and tell what they feel.

    The server is started for it and removed afterwards; no other database is touched. Ends with 1 if readers or writers
    wait longer than allowed, or if the revision cannot be run again after an interruption, breaks an old query or
    fails; with 2 if it could not be rehearsed.
    """
    from remit.migrations.lint.errors import LintError
    from remit.migrations.rehearse.errors import RehearseError
    from remit.migrations.rehearse.options import Options
    from remit.migrations.rehearse.project import open_project
    from remit.migrations.rehearse.queries import read_queries
    from remit.migrations.rehearse.report import FORMATS
    from remit.migrations.rehearse.run import rehearse as run_rehearsal
    from remit.migrations.rehearse.text import show_text

    try:
        project = open_project(config, revision, url_variable or [])
        options = Options(
            rows=rows,
            stats_from=stats_from,
            seed_sql=_read(seed_sql, "--seed-sql") if seed_sql is not None else None,
            old_queries=tuple(read_queries(old_queries)) if old_queries is not None else (),
            measured_rows=measured_rows,
            max_stall_ms=max_stall,
            postgres=postgres,
        )
        report = run_rehearsal(project, options, lambda text: print_note(f"… {text}"))
    except (LintError, RehearseError) as error:
        fail(str(error))
    if output is Format.TEXT:
        print_line(show_text(report, colour=sys.stdout.isatty()))
    else:
        print_line(FORMATS[output.value](report))
    if report.failed:
        raise typer.Exit(1)


def _read(file: Path, option: str) -> str:
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{option}: cannot read {file}: {error}")
