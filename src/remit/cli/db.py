"""`remit db …`: the database's schema, its backup, and the embedded server."""

from pathlib import Path
from typing import Annotated

import typer

from remit.cli.context import AsJson, DataDir, configured
from remit.cli.db_lint import lint
from remit.cli.db_rehearse import rehearse
from remit.cli.db_upgrade import upgrade
from remit.cli.output import print_line, show, show_list

db_commands = typer.Typer(help="Lint and run migrations; back up and stop the database.")
db_commands.command(epilog="$ remit db lint --since main")(lint)
db_commands.command(epilog="$ remit db rehearse --rows 1000000 --revision head")(rehearse)
db_commands.command(epilog="$ remit db upgrade --dry-run")(upgrade)


@db_commands.command(epilog="$ remit db current --json")
def current(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Show which revision the database is at, and whether it is the newest."""
    from remit.db.connect import open_database_blocking
    from remit.migrations import state

    with open_database_blocking(configured(data_dir=data_dir)) as dsn:
        revision = state.current(dsn)
    head = state.head_revision()
    text = f"The database is at revision {revision or 'nothing'}, the newest is {head}: run `remit db upgrade`."
    if revision == head:
        text = f"The database is at revision {revision}, the newest."
    show(as_json, {"current": revision, "head": head, "up_to_date": revision == head}, text)


@db_commands.command(epilog="$ remit db history")
def history(as_json: AsJson = False) -> None:
    """List every revision, oldest first."""
    from remit.migrations import run

    rows = [{"revision": revision.id, "title": revision.title} for revision in run.history()]
    columns = {"revision": lambda row: row["revision"], "what it does": lambda row: row["title"]}
    show_list(as_json, rows, columns, "There are no revisions.")


@db_commands.command(epilog="$ remit db dump remit.dump")
def dump(
    file: Annotated[Path, typer.Argument(help="The file to write; one of that name is replaced.")],
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Write the whole database to a file. Servers may go on meanwhile."""
    from remit.db.backup import dump_database

    size = dump_database(configured(data_dir=data_dir), file)
    text = f"Wrote {file} ({size / 1024:,.0f} KiB). It holds everything: keep it private."
    show(as_json, {"file": str(file), "bytes": size}, text)


@db_commands.command(epilog="$ remit db restore remit.dump --replace")
def restore(
    file: Annotated[Path, typer.Argument(help="What `remit db dump` wrote.")],
    replace: Annotated[bool, typer.Option("--replace", help="Overwrite a database that is not empty.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Fill the database from a dump: all of it or, on any error, nothing."""
    from remit.db.backup import restore_database
    from remit.db.connect import open_database_blocking
    from remit.migrations import state

    settings = configured(data_dir=data_dir)
    restore_database(settings, file, replace=replace)
    with open_database_blocking(settings) as dsn:
        revision = state.current(dsn)
    show(
        as_json,
        {"file": str(file), "revision": revision, "head": state.head_revision()},
        f"Restored {file}, at revision {revision}.",
    )
    if revision != state.head_revision() and not as_json:
        print_line("Now run `remit db upgrade`.")


@db_commands.command(epilog="$ remit db stop")
def stop(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Stop an embedded PostgreSQL that killed processes left running. One in use is not stopped."""
    from remit.db.embedded import stop_server

    stopped = stop_server(configured(data_dir=data_dir).data_dir)
    show(as_json, {"stopped": stopped}, "PostgreSQL stopped." if stopped else "PostgreSQL was not running.")
