"""`remit db …`: the database's schema, its backup, and the embedded server."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from remit.db.backup import dump_database, restore_database
from remit.db.connect import open_database_blocking
from remit.db.embedded import stop_server
from remit.db.errors import DatabaseSetupError
from remit.migrations import run
from remit.settings import Settings

db_commands = typer.Typer(name="db", help="Migrate, back up and stop the database.", no_args_is_help=True)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
DataDirOption = Annotated[
    Path | None, typer.Option("--data-dir", help="The embedded PostgreSQL's data [default: REMIT_DATA_DIR].")
]


@db_commands.command(epilog="$ remit db upgrade")
def upgrade(
    revision: Annotated[str, typer.Argument(help="The revision to reach.")] = "head",
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring the database up to date. Safe beside running servers, and to repeat."""
    with _report_errors(), open_database_blocking(_read_settings(data_dir)) as dsn:
        before = run.current(dsn)
        run.upgrade(dsn, revision)
        after = run.current(dsn)
    if as_json:
        _print_json({"before": before, "after": after})
    elif before == after:
        Console().print(f"The database is at revision [bold]{after}[/bold] already.")
    else:
        Console().print(f"The database went from revision {before or 'nothing'} to [bold]{after}[/bold].")


@db_commands.command(epilog="$ remit db current --json")
def current(data_dir: DataDirOption = None, as_json: JsonOption = False) -> None:
    """Show which revision the database is at, and whether it is the newest."""
    with _report_errors(), open_database_blocking(_read_settings(data_dir)) as dsn:
        revision = run.current(dsn)
    head = run.head_revision()
    if as_json:
        _print_json({"current": revision, "head": head, "up_to_date": revision == head})
    elif revision == head:
        Console().print(f"The database is at revision [bold]{revision}[/bold], the newest.")
    else:
        Console().print(
            f"The database is at revision [bold]{revision or 'nothing'}[/bold], the newest is {head}: "
            "run [bold]remit db upgrade[/bold]."
        )


@db_commands.command(epilog="$ remit db history")
def history(as_json: JsonOption = False) -> None:
    """List every revision, oldest first."""
    revisions = run.history()
    if as_json:
        _print_json([{"revision": revision.id, "title": revision.title} for revision in revisions])
        return
    table = Table("Revision", "What it does")
    for revision in revisions:
        table.add_row(revision.id, revision.title)
    Console().print(table)


@db_commands.command(epilog="$ remit db dump remit.dump")
def dump(
    file: Annotated[Path, typer.Argument(help="The file to write; one of that name is replaced.")],
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the whole database to a file. Servers may go on meanwhile."""
    with _report_errors():
        size = dump_database(_read_settings(data_dir), file)
    if as_json:
        _print_json({"file": str(file), "bytes": size})
    else:
        Console().print(f"Wrote [bold]{file}[/bold] ({size / 1024:,.0f} KiB). It holds everything: keep it private.")


@db_commands.command(epilog="$ remit db restore remit.dump --replace")
def restore(
    file: Annotated[Path, typer.Argument(help="What `remit db dump` wrote.")],
    replace: Annotated[bool, typer.Option("--replace", help="Overwrite a database that is not empty.")] = False,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fill the database from a dump: all of it or, on any error, nothing."""
    settings = _read_settings(data_dir)
    with _report_errors():
        restore_database(settings, file, replace=replace)
        with open_database_blocking(settings) as dsn:
            revision = run.current(dsn)
    if as_json:
        _print_json({"file": str(file), "revision": revision, "head": run.head_revision()})
    else:
        Console().print(f"Restored [bold]{file}[/bold], at revision {revision}.")
        if revision != run.head_revision():
            Console().print("Now run [bold]remit db upgrade[/bold].")


@db_commands.command(epilog="$ remit db stop")
def stop(data_dir: DataDirOption = None, as_json: JsonOption = False) -> None:
    """Stop an embedded PostgreSQL that killed processes left running. One in use is not stopped."""
    with _report_errors():
        stopped = stop_server(_read_settings(data_dir).data_dir)
    if as_json:
        _print_json({"stopped": stopped})
    else:
        Console().print("PostgreSQL stopped." if stopped else "PostgreSQL was not running.")


def _read_settings(data_dir: Path | None) -> Settings:
    settings = Settings()
    return settings if data_dir is None else settings.model_copy(update={"data_dir": data_dir, "database_url": None})


def _print_json(value: object) -> None:
    print(json.dumps(value))


@contextmanager
def _report_errors() -> Iterator[None]:
    try:
        yield
    except DatabaseSetupError as error:
        Console(stderr=True, soft_wrap=True).print(f"[red]error:[/red] {error}", highlight=False)
        raise typer.Exit(1) from error
