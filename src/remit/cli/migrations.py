"""The command `remit` of the distribution `remit-migrations`: the tools for any Alembic project, without the server."""

import sys

import typer

from remit.cli import run_command, start
from remit.cli.db_lint import lint
from remit.cli.db_rehearse import rehearse
from remit.cli.db_upgrade import upgrade
from remit.cli.output import print_line


def make_app() -> typer.Typer:
    """The commands that `remit db` has for other projects, by the same names."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.callback(invoke_without_command=True, help="Remit's tools for the migrations of Alembic projects.")(start)
    db = typer.Typer(help="Lint, rehearse and run the migrations of an Alembic project.")
    db.command(epilog="$ remit db lint --since main")(lint)
    db.command(epilog="$ remit db rehearse --rows 1000000 --revision head")(rehearse)
    db.command(epilog="$ remit db upgrade --config alembic.ini --dry-run")(upgrade)
    app.add_typer(db, name="db")
    app.command("version")(print_version)
    return app


def print_version() -> None:
    """Print the version."""
    from remit.version import __version__

    print_line(f"remit-migrations {__version__}")


def main() -> None:
    """Run the command and end the process with its exit code."""
    sys.exit(run_command(sys.argv[1:], make_app))
