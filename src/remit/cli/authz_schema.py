"""`remit authz schema`: the schema that holds, how another would change it, and what is doubtful about it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from remit.cli.context import AsJson, DataDir, Session, administer, fail
from remit.cli.output import print_json, print_line, show, show_time

if TYPE_CHECKING:
    from remit.authz.postgres import PostgresEngine
    from remit.authz.schema_lint import Finding

schema_commands = typer.Typer(help="The schema that holds in the database.")

FOUND = 1
LONGEST_CHANGE = 100


def embedded(session: Session) -> "PostgresEngine":
    """The embedded engine; the command ends where another one is configured."""
    from remit.authz.postgres import PostgresEngine

    if not isinstance(session.engine, PostgresEngine):
        fail("only the embedded engine explains itself; use the tools of the engine that is configured")
    return session.engine


@schema_commands.command("show")
def show_schema(
    version: Annotated[int | None, typer.Option("--version", help="An earlier one, as `history` numbers them.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Print the schema that holds, or one that held.

    Example:

    $ remit authz schema show
    """

    async def work(session: Session) -> str:
        from remit.authz.schema_store import read_history

        if version is None:
            return embedded(session).schema.source
        sources = {stored.version: stored.source for stored in await read_history(session.connection)}
        if version not in sources:
            fail(f"there is no version {version}: `remit authz schema history` lists them")
        return sources[version]

    print_line(administer(data_dir, work).rstrip("\n"))


@schema_commands.command("history")
def history(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """List every version of the schema that was applied, by whom and when, and what it changed.

    Example:

    $ remit authz schema history
    """

    async def work(session: Session) -> tuple[list[dict[str, object]], str]:
        from itertools import zip_longest

        from remit.authz.schema_store import read_history

        stored = await read_history(session.connection)
        shown, lines = [], []
        for one, before in zip_longest(stored, stored[1:]):
            changes = _compare(before.source, one.source) if before else []
            shown.append(
                {
                    "version": one.version,
                    "applied_at": one.applied_at,
                    "applied_by": one.applied_by,
                    "changes": changes,
                }
            )
            lines.append(f"version {one.version}, applied {show_time(one.applied_at)} by {one.applied_by}")
            lines += [f"  {_spread(change, '  ')}" for change in changes]
        return shown, "\n".join(lines)

    value, text = administer(data_dir, work)
    show(as_json, value, text)


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
        lines = [_spread(line) for line in change.lines] or ["Nothing changes in what the schema says."]
        if change.version is not None:
            lines.append(f"Applied as version {change.version}; every running process has it within a second.")
        elif dry_run:
            lines.append("A dry run: nothing is applied.")
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
    try:
        findings = _lint(file.read_text("utf-8"), file)
    except UnicodeDecodeError as error:
        fail(f"{file} is not UTF-8: {error}")
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


def _compare(before: str, after: str) -> list[str]:
    from remit.authz.errors import SchemaError
    from remit.authz.schema import parse_schema
    from remit.authz.schema_change import compare_schemas

    try:
        return list(compare_schemas(parse_schema(before), parse_schema(after)))
    except SchemaError:
        return ["(this release does not understand one of the two, so that it cannot say what changed)"]


def _spread(change: str, indent: str = "") -> str:
    """A change that is long, with what was and what will be on lines of their own."""
    head, _, rest = change.partition(": ")
    before, arrow, after = rest.partition("  ->  ")
    if not arrow or len(change) <= LONGEST_CHANGE:
        return change
    return f"{head}\n{indent}    was  {before}\n{indent}    is   {after}"


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
