"""`remit db lint`: judge the migrations of any Alembic project."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from remit.cli.context import fail
from remit.cli.output import print_line


class Format(StrEnum):
    """How findings are printed."""

    TEXT = "text"
    JSON = "json"
    GITHUB = "github"
    SARIF = "sarif"


def lint(
    config: Annotated[Path, typer.Option("--config", help="The project's Alembic configuration.")] = Path(
        "alembic.ini"
    ),
    revision_range: Annotated[
        str | None, typer.Option("--range", help="LOWER:UPPER, the first one excluded [default: base:head].")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", help="Only revisions whose files changed since this git reference.")
    ] = None,
    output: Annotated[Format, typer.Option("--format", help="How to print what is found.")] = Format.TEXT,
) -> None:
    """Find what a busy database would feel in the migrations of an Alembic project. It never connects to a database.

    Ends with 1 if a finding is an error, and with 2 if it could not judge.
    """
    from remit.migrations.lint.errors import LintError
    from remit.migrations.lint.project import load_project
    from remit.migrations.lint.report import FORMATS
    from remit.migrations.lint.run import lint as run_lint

    try:
        project = load_project(config, revision_range, since)
        report = run_lint(project)
    except LintError as error:
        fail(str(error))
    print_line(FORMATS[output.value](report, project.root))
    if report.failed:
        raise typer.Exit(1)
