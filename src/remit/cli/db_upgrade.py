"""`remit db upgrade`: migrate Remit's own database, or that of any Alembic project."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from remit.cli import HAS_SERVER
from remit.cli.context import AsJson, DataDir, configured, fail
from remit.cli.output import print_json, print_line, print_note

if TYPE_CHECKING:
    from remit.migrations.runner.model import Limits, Outcome

Config = Annotated[
    Path | None, typer.Option("--config", help="Another project's alembic.ini; its env.py knows the database.")
]


def upgrade(
    revision: Annotated[str, typer.Argument(help="The revision to reach.")] = "head",
    config: Config = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print each statement with its locks, and change nothing.")
    ] = False,
    lock_timeout: Annotated[
        float, typer.Option(min=0.01, help="The longest that a statement waits for a lock, in seconds.")
    ] = 3.0,
    attempts: Annotated[int, typer.Option(min=1, help="How often a step is tried that gets no lock.")] = 10,
    wait: Annotated[float, typer.Option(min=0, help="How long to wait for another migrator, in seconds.")] = 600.0,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Bring the database up to date. Safe beside running servers, and to repeat after any interruption.

    A statement that gets no lock in time is tried again, and the sessions in its way are named.

    Ends with 1 if a step never got its lock or something is left behind that needs a look, and with 2 if the migration
    could not run or failed.
    """
    from remit.migrations.runner.model import Limits, LockedError

    if config is None and not HAS_SERVER:
        fail("name the project whose database is meant: --config alembic.ini")
    if config is not None and data_dir is not None:
        fail("--config and --data-dir exclude each other: env.py of the other project knows its database")
    limits = Limits(lock_timeout=lock_timeout, attempts=attempts, turn=wait)
    try:
        if dry_run:
            _show_plan(revision, config, data_dir, as_json=as_json)
            return
        outcome = _upgrade(revision, config, data_dir, limits)
    except LockedError as error:
        print_note(f"error: {error}")
        raise typer.Exit(1) from error
    _show(outcome, as_json=as_json)
    if outcome.left:
        raise typer.Exit(1)


def _upgrade(revision: str, config: Path | None, data_dir: Path | None, limits: "Limits") -> "Outcome":
    logging.getLogger("remit").setLevel(logging.WARNING)
    if config is not None:
        from remit.migrations.runner.project import upgrade_project

        return upgrade_project(config, revision, limits, print_note)
    from remit.db.connect import open_database_blocking
    from remit.migrations import run

    with open_database_blocking(configured(data_dir=data_dir)) as dsn:
        return run.upgrade(dsn, revision, limits, print_note)


def _show(outcome: "Outcome", *, as_json: bool) -> None:
    before, after = (", ".join(heads) or None for heads in (outcome.before, outcome.after))
    if as_json:
        print_json(
            {
                "before": before,
                "after": after,
                "revisions": outcome.revisions,
                "left": outcome.left,
                "notes": outcome.notes,
            }
        )
        return
    if before == after:
        print_line(f"The database is at revision {after} already.")
    elif before is None:
        print_line(f"The database had no tables and is at revision {after} now.")
    else:
        print_line(f"The database went from revision {before} to {after}.")
    for text in outcome.left:
        print_line(f"Left behind: {text}.")
    for text in outcome.notes:
        print_line(f"Note: {text}.")


def _show_plan(revision: str, config: Path | None, data_dir: Path | None, *, as_json: bool) -> None:
    from remit.migrations.lint.errors import LintError
    from remit.migrations.lint.project import make_project
    from remit.migrations.plan import format_plan, make_plan

    try:
        if config is not None:
            from remit.migrations.runner.project import load_config, read_project_heads

            heads, loaded = read_project_heads(config), load_config(config)
        else:
            from remit.db.connect import open_database_blocking
            from remit.migrations import run, state

            with open_database_blocking(configured(data_dir=data_dir)) as dsn:
                current = state.current(dsn)
            heads, loaded = ((current,) if current else ()), run.make_config()
        plan = make_plan(make_project(loaded, heads, revision))
    except LintError as error:
        fail(str(error))
    if as_json:
        print_json({"revisions": plan})
    else:
        print_line(format_plan(plan))
