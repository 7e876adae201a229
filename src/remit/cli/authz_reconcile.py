"""`remit authz reconcile` and `backfill`: rows and relationships compared, and made to agree."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import typer

from remit.authz.reconcile.pace import DEFAULT_RATE
from remit.cli.authz import authz_commands
from remit.cli.beside import let_others_go_first, progress_bar, with_patience
from remit.cli.context import AsJson, DataDir, configured, fail, migrated_database
from remit.cli.output import print_json, print_line, print_note, print_table

if TYPE_CHECKING:
    from remit.authz.reconcile.findings import Finding
    from remit.authz.reconcile.reports import Plan, TypeReport
    from remit.settings import Settings

TypeName = Literal["tenant", "agent", "task", "api_key", "schedule"]
OfOneTenant = Annotated[str | None, typer.Option("--tenant", help="One tenant, by name or id; all by default.")]
OfOneType = Annotated[TypeName | None, typer.Option("--type", help="One resource type; all by default.")]
Rate = Annotated[int, typer.Option("--rate", min=1, help="Most resources compared in a second.")]

DRIFT = 1
_ORDER: tuple[TypeName, ...] = get_args(TypeName)


@authz_commands.command("reconcile")
def reconcile(
    tenant: OfOneTenant = None,
    resource_type: OfOneType = None,
    apply: Annotated[bool, typer.Option("--apply", help="Repair what may be repaired; by default it is told.")] = False,
    prune: Annotated[
        int,
        typer.Option(
            "--prune", min=0, help="With --apply, of how many resources without a row to remove what is left."
        ),
    ] = 0,
    after_restore: Annotated[
        bool,
        typer.Option(
            "--after-restore", help="The database was restored and is older than what the graph elsewhere has."
        ),
    ] = False,
    rate: Rate = DEFAULT_RATE,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Compare rows, relationships and, where there is one, the graph elsewhere; exit code 0 clean, 1 drift, 2 error.

    Example:

    $ remit authz reconcile --tenant acme
    """
    from remit.authz.reconcile.reports import Plan

    if prune and not apply:
        fail("--prune needs --apply")
    plan = Plan(apply=apply, prune=prune, rate=rate, actor=_actor())
    _run(data_dir, tenant, resource_type, plan, after_restore=after_restore, as_json=as_json, backfill=False)


@authz_commands.command("backfill")
def backfill(
    tenant: Annotated[str, typer.Option("--tenant", help="The tenant that is adopted, by name or id.")],
    resource_type: OfOneType = None,
    rate: Rate = DEFAULT_RATE,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Register what a tenant had before its relationships were kept: to its tenant and agent, and to its creator.

    Example:

    $ remit authz backfill --tenant acme
    """
    from remit.authz.reconcile.reports import Plan

    plan = Plan(apply=True, rate=rate, actor=_actor(), whole=False)
    _run(data_dir, tenant, resource_type, plan, after_restore=False, as_json=as_json, backfill=True)


def _actor() -> str:
    from remit.identity.operator import operator_name

    return operator_name()


def _run(
    data_dir: Path | None,
    tenant: str | None,
    resource_type: TypeName | None,
    plan: "Plan",
    *,
    after_restore: bool,
    as_json: bool,
    backfill: bool,
) -> None:
    settings = configured(data_dir=data_dir)
    types = (resource_type,) if resource_type else _ORDER
    reports, samples = asyncio.run(
        _compare(settings, tenant, types, plan, after_restore=after_restore, quiet=as_json, backfill=backfill)
    )
    if as_json:
        print_json(_as_json(reports, samples, plan))
    else:
        _print(reports, samples, plan)
    left = sum(report.left if plan.apply else report.drift for report in reports)
    if left:
        raise typer.Exit(DRIFT)


async def _compare(
    settings: "Settings",
    tenant: str | None,
    types: Sequence[TypeName],
    plan: "Plan",
    *,
    after_restore: bool,
    quiet: bool,
    backfill: bool,
) -> tuple[list["TypeReport"], list["Finding"]]:
    from remit.authz.errors import AuthzError
    from remit.authz.load import load_engine, open_remote
    from remit.authz.reconcile.elsewhere import Projections
    from remit.authz.reconcile.run import Run, count_compared
    from remit.authz.subject_names import SubjectNames

    async with migrated_database(settings, size=2) as database:
        if not plan.apply:
            let_others_go_first()
        remote = None
        try:
            async with database.connection() as connection:
                engine = await load_engine(connection, settings)
                tenants = await _tenants(connection, tenant)
                total = await count_compared(connection, [id for id, _ in tenants], types)
                if backfill:
                    await _refuse_unregistered(connection, engine, tenants[0], types)
            # A backfill writes here; an engine elsewhere is told by the outbox, as of any change.
            remote = await open_remote(with_patience(settings), engine) if plan.whole else None
            names = SubjectNames(settings.authz_subject_ids)
            projections = Projections(database, engine, remote, names, after_restore=after_restore) if remote else None
            reports: list[TypeReport] = []
            with progress_bar(quiet=quiet) as progress:
                bar = progress.add_task("comparing", total=total)
                run = Run(database, engine, projections, plan, lambda n: progress.advance(bar, n))
                for id, name in tenants:
                    for resource_type in types:
                        progress.update(bar, description=f"{name}: {resource_type}")
                        try:
                            reports.append(await run.reconcile(id, name, resource_type))
                        except AuthzError as error:
                            fail(
                                f"the engine elsewhere gave no answer ({error}); run it again, it goes on where it was"
                            )
            return reports, run.samples
        finally:
            if remote is not None:
                await remote.aclose()


async def _tenants(connection: Any, tenant: str | None) -> list[tuple[str, str]]:
    from remit.identity.tenants import find_tenant

    if tenant is not None:
        found = await find_tenant(connection, tenant)
        return [(found.id, found.name)]
    rows = await connection.fetch("SELECT id::text AS id, name FROM tenants ORDER BY id")
    return [(row["id"], row["name"]) for row in rows]


async def _refuse_unregistered(connection: Any, engine: Any, tenant: tuple[str, str], types: Sequence[str]) -> None:
    from remit.authz.mode_moves import read_rulings

    rulings = await read_rulings(connection, engine.mode_policy, tenant[0])
    silent = [name for name in types if not rulings[name].registers]
    if silent:
        fail(
            f"{', '.join(silent)} of {tenant[1]} in mode `off` would fall behind at once; "
            f"run `remit authz mode set write --tenant {tenant[1]}` first"
        )


def _as_json(reports: Sequence["TypeReport"], samples: Sequence["Finding"], plan: "Plan") -> dict[str, Any]:
    return {
        "applied": plan.apply,
        "clean": not any(report.drift for report in reports),
        "types": [_report_as_json(report) for report in reports],
        "findings": [
            {"class": one.kind, "resource": str(one.resource), "detail": one.detail, "drift": one.is_drift}
            for one in samples
        ],
    }


def _report_as_json(report: "TypeReport") -> dict[str, Any]:
    return {
        "tenant": report.tenant,
        "type": report.resource_type,
        "registers": report.registers,
        "compared": report.compared,
        "drift": report.drift,
        "left": report.left,
        "found": dict(report.found),
        "repaired": dict(report.repaired),
        "readable": report.readable,
        "started_at": report.started_at,
    }


def _print(reports: Sequence["TypeReport"], samples: Sequence["Finding"], plan: "Plan") -> None:
    from remit.authz.reconcile.findings import MEANINGS

    print_table(
        ["tenant", "type", "compared", "drift", "repaired", "left", "pending", "foreign", "no creator"],
        [
            [
                report.tenant,
                report.resource_type,
                str(report.compared),
                str(report.drift),
                str(sum(report.repaired.values())),
                str(report.left),
                str(report.found["pending"]),
                str(report.found["foreign"]),
                str(report.found["no_creator"]),
            ]
            for report in reports
        ],
    )
    kinds = sorted({kind for report in reports for kind in report.found})
    if kinds:
        print_line("")
        for kind in kinds:
            print_line(f"{kind}: {MEANINGS[kind]}")  # type: ignore[index]  # its keys are all there are
            for one in [one for one in samples if one.kind == kind][:5]:
                print_line(f"  {one.resource}" + (f"  {one.detail}" if one.detail else ""))
    unread = [report for report in reports if not report.readable]
    if unread:
        print_note("The engine elsewhere cannot be read, so that nothing is said about what it holds.")
    drift, left = sum(report.drift for report in reports), sum(report.left for report in reports)
    if not drift:
        print_line("\nclean: rows and relationships agree")
    elif plan.apply:
        print_line(f"\n{drift - left} of {drift} repaired" + (f"; {left} left, each told above" if left else ""))
    else:
        print_line(f"\n{drift} differences; --apply repairs what may be repaired")
