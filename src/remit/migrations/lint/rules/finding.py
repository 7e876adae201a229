"""How a rule says what it found."""

import re

from remit.migrations.lint.catalog import CATALOG
from remit.migrations.lint.model import Finding, Level, Revision, Statement
from remit.migrations.lint.rewrite import rewrite
from remit.migrations.lint.rewrite_parts import BLOCK, quote_name, write_call
from remit.migrations.lint.schema import Schema
from remit.migrations.lint.view import RevisionView, Step

_PLACEHOLDERS = {"table": "THE_TABLE", "column": "THE_COLUMN", "name": "THE_NAME"}
_NAMES = frozenset((*_PLACEHOLDERS, "check", "index", "type"))


def find(
    view: RevisionView, step: Step, rule: str, *, level: Level | None = None, code: str | None = None, **names: str
) -> Finding:
    """A finding about one statement.

    Args:
        view: its revision.
        step: the statement.
        rule: its id in the catalog.
        level: another level than the catalog's; what a downgrade does is never above `warn`.
        code: the safe form, if the rule knows it better than the catalog and the statement itself.
        names: what the catalog's texts have in braces; `table` is the one most locked unless given.
    """
    names = {"table": step.table, **names}
    return find_statement(view.revision, step.statement, rule, level, names, step.before, code)


def find_statement(
    revision: Revision,
    statement: Statement,
    rule: str,
    level: Level | None,
    names: dict[str, str],
    before: Schema | None = None,
    code: str | None = None,
) -> Finding:
    """A finding about a statement, without a step."""
    info = CATALOG[rule]
    chosen: Level = level or info.level
    message = fill(info.message, names)
    if statement.direction == "downgrade":
        chosen = "warn" if chosen == "error" else chosen
        message = f"in downgrade: {message}"
    code = code or rewrite(rule, statement.sql, before) or fill_code(info.fix, names, statement.sql)
    site = next((site for site in reversed(statement.sites) if site.file.resolve() == revision.file), None)
    return Finding(
        revision.id,
        rule,
        chosen,
        message,
        revision.file,
        site.line if site else revision.line,
        statement.sql,
        fit(code) if statement.transaction is None else code,
        statement.sites,
    )


def fit(code: str) -> str:
    """Code for a place that is in an autocommit block already: that block is not begun again, and nothing is local."""
    first, mark, later = code.partition("# the next revision")
    lines, inside = [], False
    for line in first.splitlines():
        inside = line + "\n" == BLOCK or (inside and line.startswith("    "))
        if line + "\n" != BLOCK:
            lines.append(line.removeprefix("    ") if inside else line)
    text = "\n".join(lines).replace("SET LOCAL ", "SET ")
    return f"{text}\n{mark}{later}" if mark else text


def fill(text: str, names: dict[str, str]) -> str:
    """Put names into a text of the catalog. A table, column or name that is not known becomes a word to fill in."""
    for name, value in {**dict.fromkeys(_PLACEHOLDERS, ""), **names}.items():
        text = text.replace("{" + name + "}", value or _PLACEHOLDERS.get(name, ""))
    return text


def fill_code(text: str, names: dict[str, str], sql: str) -> str:
    """Put names into code of the catalog, in the quotes that SQL and Python need.

    Args:
        text: the code. Besides the rule's names it has `{check}` for a constraint of the column, `{index}` for an index
            with the schema of its table, and `{call}` for the statement itself.
        names: the rule's.
        sql: the statement.
    """
    known = {**_PLACEHOLDERS, **{name: value for name, value in names.items() if value}}
    schema, dot, table = known["table"].rpartition(".")
    known["check"] = f"ck_{table}_{known['column']}"
    known["index"] = known["name"] if "." in known["name"] else f"{schema}{dot}{known['name']}"

    def put(match: re.Match[str]) -> str:
        name, suffix = match[1], match[2] or ""
        if name == "call":
            return write_call(sql)
        value = known.get(name, "")
        if name not in _NAMES or value in _PLACEHOLDERS.values():
            return value + suffix
        # A list of columns has a comma between its names.
        quoted = ", ".join(quote_name(f"{part}{suffix}") for part in value.split(", "))
        return quoted.replace('"', '\\"')

    return re.sub(r"\{(\w+)\}(_new|_part)?", put, text)
