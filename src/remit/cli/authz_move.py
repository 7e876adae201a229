"""`remit authz move`: all relationships to a SpiceDB, and what others wrote there back."""

import asyncio
import dataclasses
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from remit.authz.reconcile.pace import DEFAULT_RATE
from remit.cli.authz import authz_commands
from remit.cli.beside import progress_bar, with_patience
from remit.cli.context import AsJson, DataDir, configured, fail, migrated_database
from remit.cli.output import print_json, print_line, print_table

if TYPE_CHECKING:
    from remit.authz.model import Relationship
    from remit.authz.move import Move, TypeMove
    from remit.settings import Settings

DIFFERENT = 1
Side = Literal["spicedb", "embedded"]
# Relationships that others wrote to SpiceDB; each with why it cannot be taken over, None where it was not tried.
Foreign = list[tuple["Relationship", str | None]]


@authz_commands.command("move")
def move(
    to: Annotated[Side, typer.Option("--to", help="Which side is to have everything.")],
    apply: Annotated[bool, typer.Option("--apply", help="Write what is missing; by default it is told.")] = False,
    rate: Annotated[int, typer.Option("--rate", min=1, help="Most resources in a second.")] = DEFAULT_RATE,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Bring a SpiceDB to hold every relationship, or take over what others wrote there, and compare both sides.

    Exit code 0 if they are equal, 1 if not, 2 on an error. One that was killed is begun anew: what is there is not
    sent again. `docs/operations/move.md` has the whole way.

    Example:

    $ remit authz move --to spicedb --apply
    """
    settings = configured(data_dir=data_dir)
    if settings.authz_engine != "spicedb":
        fail("a move is from and to a SpiceDB: set REMIT_AUTHZ_ENGINE=spicedb here as for the servers")
    types, foreign = asyncio.run(_with_sides(settings, to, apply=apply, rate=rate, quiet=as_json))
    equal = all(one.equal for one in types)
    refused = any(reason is not None for _, reason in foreign)
    clean = equal and (to == "spicedb" or not (refused or any(one.foreign for one in types)))
    if as_json:
        print_json(
            {
                "to": to,
                "applied": apply,
                "equal": clean,
                "types": [{**dataclasses.asdict(one), "equal": one.equal} for one in types],
                "foreign": [{"relationship": str(one), "reason": reason} for one, reason in foreign],
            }
        )
    else:
        _print(types, foreign, apply=apply, clean=clean)
    if not clean:
        raise typer.Exit(DIFFERENT)


async def _with_sides(
    settings: "Settings", to: Side, *, apply: bool, rate: int, quiet: bool
) -> tuple[list["TypeMove"], Foreign]:
    from remit.authz.load import load_engine, open_remote
    from remit.authz.move import Move
    from remit.authz.reconcile.elsewhere import Projections
    from remit.authz.spicedb import SpiceDB
    from remit.authz.subject_names import SubjectNames

    async with migrated_database(settings, size=2) as database:
        remote: Any = None
        try:
            async with database.connection() as connection:
                engine = await load_engine(connection, settings)
                total = await connection.fetchval(
                    "SELECT count(*) FROM (SELECT DISTINCT resource_type, resource_id FROM relationships) r"
                )
            remote = await open_remote(with_patience(settings), engine)
            assert isinstance(remote, SpiceDB), "the settings say so"
            names = SubjectNames(settings.authz_subject_ids)
            projections = Projections(database, engine, remote, names, after_restore=False)
            moving = Move(database, engine, projections, remote, rate=rate)
            return await _run(moving, to, total, apply=apply, quiet=quiet)
        finally:
            if remote is not None:
                await remote.aclose()


async def _run(moving: "Move", to: Side, total: int, *, apply: bool, quiet: bool) -> tuple[list["TypeMove"], Foreign]:
    from remit.authz.errors import AuthzError
    from remit.identity.operator import operator_name

    sent: dict[str, int] = {}
    taken: dict[str, int] = {}
    with progress_bar(quiet=quiet) as progress:
        bar = progress.add_task("moving" if apply else "comparing", total=total)
        moving.on_progress = lambda n: progress.advance(bar, n)
        try:
            if apply and to == "spicedb":
                sent = await moving.export()
            elif apply:
                taken = await moving.take_over(operator_name())
            progress.reset(bar, description="comparing", total=total)
            types = await moving.compare()
        except AuthzError as error:
            fail(f"SpiceDB gave no answer ({error}); run it again, what is there is not sent again")
    for one in types:
        one.sent, one.imported = sent.get(one.resource_type, 0), taken.get(one.resource_type, 0)
    return types, [*moving.refused] or [(one, None) for one in moving.foreign]


def _print(types: list["TypeMove"], foreign: Foreign, *, apply: bool, clean: bool) -> None:
    print_table(
        ["type", "resources", "relationships", "sent", "missing", "beyond", "foreign", "taken over", "pending"],
        [
            [
                one.resource_type,
                str(one.resources),
                str(one.relationships),
                str(one.sent),
                str(one.missing),
                str(one.beyond),
                str(one.foreign),
                str(one.imported),
                str(one.pending),
            ]
            for one in types
        ],
    )
    if foreign:
        print_line("\nwritten to SpiceDB by others:")
        for one, reason in foreign[:10]:
            print_line(f"  {one}" + (f"  ({reason})" if reason else ""))
        if len(foreign) > 10:
            print_line(f"  and {len(foreign) - 10} more: --json lists them")
    if clean:
        print_line("\nequal: both sides hold the same")
    elif not all(one.equal for one in types):
        print_line("\nthey differ; " + ("run it once more" if apply else "--apply --to spicedb writes what is missing"))
    elif not apply:
        print_line("\nSpiceDB has more than is here; --apply takes over what has a meaning here")
    else:
        print_line("\nwhat is left in SpiceDB has no meaning here")
