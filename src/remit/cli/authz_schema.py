"""`remit authz schema`: the schema that holds, how another would change it, and what is doubtful about it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from remit.cli.context import AsJson, DataDir, Session, administer, fail
from remit.cli.output import print_json, print_line, show

if TYPE_CHECKING:
    from remit.authz.postgres import PostgresEngine
    from remit.authz.schema_lint import Finding

schema_commands = typer.Typer(help="The schema that holds in the database.")

FOUND = 1


def embedded(session: Session) -> "PostgresEngine":
    """The embedded engine; the command ends where another one is configured."""
    from remit.authz.postgres import PostgresEngine

    if not isinstance(session.engine, PostgresEngine):
        fail("only the embedded engine explains itself; use the tools of the engine that is configured")
    return session.engine


@schema_commands.command("show")
def show_schema(data_dir: DataDir = None) -> None:
    """Print the schema that holds.

    Example:

    $ remit authz schema show
    """

    async def work(session: Session) -> str:
        return embedded(session).schema.source

    print_line(administer(data_dir, work).rstrip("\n"))


@schema_commands.command("apply")
def apply(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A schema in SpiceDB's language.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Apply it although routes ask for operations that it lacks.")
    ] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Replace the schema, in every running process within a second.

    Refused while relationships exist that the new one would not allow, and when it lacks an operation that a route
    asks for: servers would refuse such requests and report that they are not ready.

    Example:

    $ remit authz schema apply my-schema.zed
    """
    source = file.read_text("utf-8")

    async def work(session: Session) -> tuple[dict[str, object], str]:
        from remit.app import check_schema_answers
        from remit.authz.errors import PermissionUnknown
        from remit.authz.schema_change import apply_schema
        from remit.identity.operator import operator_name

        who = f"cli:{operator_name()}"
        change = await apply_schema(session.connection, source, who, file.name, dry_run=dry_run)
        if await session.engine.refresh(session.connection) and not force:
            try:
                check_schema_answers(session.engine)
            except PermissionUnknown as error:
                fail(f"{error} (--force applies it all the same; such requests are refused then)")
        lines = list(change.lines) or ["Nothing changes in what the schema says."]
        if change.version is not None:
            lines.append(f"Applied as version {change.version}.")
        findings = [finding for finding in _lint(source, file) if finding.reason is None]
        lines += [finding.text for finding in findings]
        shown = [_as_json(finding) for finding in findings]
        value: dict[str, object] = {"changes": list(change.lines), "version": change.version, "findings": shown}
        return value, "\n".join(lines)

    value, text = administer(data_dir, work)
    show(as_json, value, text)


@schema_commands.command("lint")
def lint(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A schema in SpiceDB's language.")],
    as_json: AsJson = False,
) -> None:
    """Find what a schema says and hardly means; exit code 0 if nothing, 1 if something, 2 if it is no schema.

    A comment on the line or above it silences a rule: `// lint: RULE because REASON`.

    Example:

    $ remit authz schema lint my-schema.zed
    """
    from remit.authz.errors import SchemaError

    try:
        findings = _lint(file.read_text("utf-8"), file)
    except (SchemaError, UnicodeDecodeError) as error:
        fail(str(error))
    open_findings = [finding for finding in findings if finding.reason is None]
    if as_json:
        print_json({"file": str(file), "findings": [_as_json(finding) for finding in findings]})
    else:
        for finding in open_findings:
            print_line(f"{finding.text}\n")
        silenced = len(findings) - len(open_findings)
        print_line(f"{file}: {len(open_findings)} findings, {silenced} silenced with a reason.")
    if open_findings:
        raise typer.Exit(FOUND)


def _lint(source: str, file: Path) -> list["Finding"]:
    from remit.authz.schema import parse_schema
    from remit.authz.schema_check import check_schema
    from remit.authz.schema_lint import lint_schema

    return lint_schema(check_schema(parse_schema(source, file.name)))


def _as_json(finding: "Finding") -> dict[str, object]:
    return {
        "rule": finding.rule,
        "line": finding.line,
        "column": finding.column,
        "message": finding.message,
        "suggestion": finding.suggestion,
        "reason": finding.reason,
    }
