"""How a rule says what it found."""

from remit.migrations.lint.catalog import CATALOG
from remit.migrations.lint.model import Finding, Level, Revision, Statement
from remit.migrations.lint.view import RevisionView, Step

_PLACEHOLDERS = {"table": "TABLE", "column": "COLUMN", "name": "NAME"}


def find(view: RevisionView, step: Step, rule: str, *, level: Level | None = None, **names: str) -> Finding:
    """A finding about one statement.

    Args:
        view: its revision.
        step: the statement.
        rule: its id in the catalog.
        level: another level than the catalog's; what a downgrade does is never above `warn`.
        names: what the catalog's texts have in braces; `table` is the one most locked unless given.
    """
    return find_statement(view.revision, step.statement, rule, level, {"table": step.table, **names})


def find_statement(
    revision: Revision, statement: Statement, rule: str, level: Level | None, names: dict[str, str]
) -> Finding:
    """A finding about a statement, without a step."""
    info = CATALOG[rule]
    chosen: Level = level or info.level
    message = fill(info.message, names)
    if statement.direction == "downgrade":
        chosen = "warn" if chosen == "error" else chosen
        message = f"in downgrade: {message}"
    site = next((site for site in reversed(statement.sites) if site.file.resolve() == revision.file), None)
    return Finding(
        revision.id,
        rule,
        chosen,
        message,
        revision.file,
        site.line if site else revision.line,
        statement.sql,
        fill(info.fix, names),
        statement.sites,
    )


def fill(text: str, names: dict[str, str]) -> str:
    """Put names into a text of the catalog. A table, column or name that is not known becomes a word to fill in."""
    for name, value in {**dict.fromkeys(_PLACEHOLDERS, ""), **names}.items():
        text = text.replace("{" + name + "}", value or _PLACEHOLDERS.get(name, ""))
    return text
