"""`remit authz validate`, `why` and `explain-plan`: the engine's own commands."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from remit.cli.authz_schema import embedded, schema_commands
from remit.cli.context import AsJson, DataDir, Session, administer, fail
from remit.cli.output import print_json, print_line, print_table, show

if TYPE_CHECKING:
    from remit.authz.validate import FileResult

engine_commands = typer.Typer(help="The engine: validation files, explanations, plans and the schema.")
engine_commands.add_typer(schema_commands, name="schema")

FAILED = 1


class Judge(StrEnum):
    """What answers the questions of validation files."""

    EMBEDDED = "embedded"
    SPICEDB = "spicedb"


class Output(StrEnum):
    """How an outcome is printed."""

    TEXT = "text"
    JSON = "json"


Files = Annotated[
    list[Path], typer.Argument(metavar="FILE…", help="Validation files (YAML).", exists=True, dir_okay=False)
]


@engine_commands.command("validate")
def validate(
    files: Files,
    engine: Annotated[Judge, typer.Option("--engine", help="What answers.")] = Judge.EMBEDDED,
    output: Annotated[Output, typer.Option("--format", help="How to print the outcome.")] = Output.TEXT,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    endpoint: Annotated[
        str | None,
        typer.Option(
            "--endpoint", metavar="HOST:PORT", help="With --engine spicedb: a running SpiceDB without schema."
        ),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            help="Its preshared key; safer in the variable.",
            envvar="REMIT_SPICEDB_TOKEN",
            show_default=False,
        ),
    ] = None,
    no_tls: Annotated[bool, typer.Option("--no-tls", help="It is reached without TLS.")] = False,
) -> None:
    """Run SpiceDB's validation files on a scratch database; exit code 0 if everything holds, 1 if not.

    With `--engine spicedb` SpiceDB itself answers: its library, in memory, or the server that `--endpoint` names,
    which must have no schema and is left empty. Exit code 2 if there is none.

    Examples:

    $ remit authz validate schema-tests/*.yaml

    $ remit authz validate --engine spicedb --endpoint 127.0.0.1:50051 --no-tls schema-tests/*.yaml
    """
    if engine is Judge.EMBEDDED and endpoint is not None:
        fail("--endpoint names a SpiceDB: add --engine spicedb")
    results = _run_files(files) if engine is Judge.EMBEDDED else _run_on_spicedb(files, endpoint, token, no_tls)
    if as_json or output is Output.JSON:
        print_json(
            {
                "files": [
                    {
                        "file": result.file,
                        "passed": result.passed,
                        "failures": list(result.failures),
                        "unsupported": result.unsupported,
                    }
                    for result in results
                ]
            }
        )
    else:
        rows = [[_outcome(result), result.file, str(result.questions)] for result in results]
        print_table(
            ["result", "file", "questions"], rows, {"failed": "red", "unsupported": "yellow", "passed": "green"}
        )
        for result in results:
            for failure in result.failures:
                print_line(f"{result.file}: {failure}")
        print_line(f"{sum(result.passed for result in results)} of {len(results)} files passed.")
    if not all(result.passed for result in results):
        raise typer.Exit(FAILED)


def _run_on_spicedb(files: list[Path], endpoint: str | None, token: str | None, no_tls: bool) -> list["FileResult"]:
    import asyncio

    from remit.authz.spicedb_library import NoSpiceDB
    from remit.authz.validate_spicedb import Server, validate_on_spicedb
    from remit.settings import get_settings

    server = None
    if endpoint is not None:
        if not token:
            fail("a running SpiceDB needs its preshared key: put it in REMIT_SPICEDB_TOKEN, or give --token")
        settings = get_settings()
        server = Server(endpoint, token, settings.spicedb_tls and not no_tls, settings.spicedb_ca)
    try:
        return asyncio.run(validate_on_spicedb(files, server))
    except NoSpiceDB as error:
        fail(str(error))


def _outcome(result: "FileResult") -> str:
    return "passed" if result.passed else "unsupported" if result.unsupported else "failed"


def _run_files(files: list[Path]) -> list["FileResult"]:
    import asyncio
    import tempfile

    import asyncpg

    from remit.authz.validate import validate_files
    from remit.db.embedded import EmbeddedPostgres
    from remit.migrations.run import upgrade

    async def run(dsn: str) -> list["FileResult"]:
        connection = await asyncpg.connect(dsn)
        try:
            async with connection.transaction():
                return await validate_files(connection, files)
        finally:
            await connection.close()

    with tempfile.TemporaryDirectory(prefix="remit-", ignore_cleanup_errors=True) as folder:
        server = EmbeddedPostgres.start_blocking(Path(folder), options={"fsync": "off"})
        try:
            upgrade(server.dsn)
            return asyncio.run(run(server.dsn))
        finally:
            server.stop_blocking()


@engine_commands.command("why")
def why(
    resource: Annotated[str, typer.Argument(metavar="RESOURCE", help="As task:ID, task:NAME or agent:NAME.")],
    permission: Annotated[str, typer.Argument(help="A permission of the resource's type.")],
    subject: Annotated[str, typer.Argument(metavar="SUBJECT", help="As user:NAME, group:NAME#member or agent:NAME.")],
    tenant: Annotated[str | None, typer.Option("--tenant", help="Where names are looked up.")] = None,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Explain a check: the shortest path for an allow, what is missing for a denial. Exit code 0 if allowed, 1 if not.

    Example:

    $ remit authz why task:report cancel user:bob --tenant acme
    """

    async def work(session: Session) -> tuple[bool, dict[str, object], str]:
        from remit.authz.explain import explain
        from remit.authz.explain_text import render_json, render_text
        from remit.cli.names import find_any_subject, find_resource
        from remit.identity.tenants import find_tenant
        from remit.why import find_names

        tenant_id = (await find_tenant(session.connection, tenant)).id if tenant else None
        asked = await find_resource(session.connection, tenant_id, resource)
        asker = await find_any_subject(session.connection, tenant_id, subject)
        found = await explain(embedded(session), session.connection, asker, permission, asked)
        return found.allowed, render_json(found), render_text(found, await find_names(session.connection, found))

    allowed, value, text = administer(data_dir, work)
    show(as_json, value, text)
    if not allowed:
        raise typer.Exit(FAILED)


@engine_commands.command("explain-plan")
def explain_plan(
    permission: Annotated[str, typer.Argument(metavar="PERMISSION", help="As task#read.")],
    subject_type: Annotated[str, typer.Option("--for", help="The kind of caller.")] = "user",
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Say which form the SQL of a permission has, for a check and for a list.

    Example:

    $ remit authz explain-plan task#read --for agent
    """
    resource_type, _, name = permission.partition("#")
    if not name:
        fail("write the permission as TYPE#PERMISSION, for example task#read")

    async def work(session: Session) -> tuple[dict[str, object], str]:
        from remit.authz.plan import describe_plan

        plan = describe_plan(embedded(session), resource_type, name, subject_type)
        lines = [f"check: {plan.check}", "list: newest first, a merge of"]
        lines += [f"  {branch}" for branch in plan.branches] or ["  nothing: this kind of caller can never hold it"]
        if plan.whole_sets:
            lines.append(f"found whole before the merge: {', '.join(plan.whole_sets)}")
        lines += [f"form {number}: {form}" for number, form in enumerate(plan.forms, 1)]
        value: dict[str, object] = {
            "check": plan.check,
            "branches": list(plan.branches),
            "whole_sets": list(plan.whole_sets),
            "forms": list(plan.forms),
        }
        return value, "\n".join(lines)

    value, text = administer(data_dir, work)
    show(as_json, value, text)
