"""Asks squawk about the statements: one run for those in transactions, one for the others."""

import json
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from remit.migrations.lint.catalog import CATALOG
from remit.migrations.lint.catalog_squawk import ABOUT_ONE_CONSTRAINT, NEED_LOCK, NEED_WORK
from remit.migrations.lint.errors import LintError
from remit.migrations.lint.locks import reads_domain
from remit.migrations.lint.model import Finding
from remit.migrations.lint.parse import INSTALL, commands_of, dropped_names, join_names, subtype_of
from remit.migrations.lint.rules.finding import find
from remit.migrations.lint.rules.retry import list_columns
from remit.migrations.lint.view import History, RevisionView, Step

_SECONDS = 120


def ask_squawk(history: History) -> Iterator[Finding]:
    """What squawk says, as far as it holds for tables in use.

    Raises:
        LintError: squawk is not installed or failed.
    """
    groups = list(_group(history))
    for inside in (True, False):
        chosen = [(view, steps) for view, steps in groups if (steps[0].statement.transaction is not None) is inside]
        if chosen:
            yield from _ask(chosen, inside=inside)


def _group(history: History) -> Iterator[tuple[RevisionView, list[Step]]]:
    for view in history.asked:
        for steps in (view.upgrade, view.downgrade):
            for _, group in groupby(steps, key=lambda step: step.statement.transaction):
                yield view, list(group)


def _ask(groups: Sequence[tuple[RevisionView, list[Step]]], *, inside: bool) -> Iterator[Finding]:
    with tempfile.TemporaryDirectory(prefix="remit-lint-") as folder:
        starts = [_write(Path(folder) / f"{number}.sql", steps) for number, (_, steps) in enumerate(groups)]
        said = _run(Path(folder), inside=inside)
    for number, (view, steps) in enumerate(groups):
        rules: dict[int, list[str]] = {}
        for item in said:
            if Path(item["file"]).stem == str(number):
                place = max(index for index, line in enumerate(starts[number]) if line <= item["line"])
                rules.setdefault(place, []).append(item["rule_name"])
        for place, names in sorted(rules.items()):
            for rule in _choose(names):
                if _holds(rule, steps[place]):
                    yield find(view, steps[place], rule, level=None, **_name_parts(steps[place]))


def _write(file: Path, steps: Sequence[Step]) -> list[int]:
    """Write the statements to a file; the line of each, from 0."""
    lines, starts = 0, []
    with file.open("w") as output:
        for step in steps:
            starts.append(lines)
            output.write(step.statement.sql + ";\n")
            lines += step.statement.sql.count("\n") + 1
    return starts


def _run(folder: Path, *, inside: bool) -> list[dict[str, Any]]:
    program = Path(sysconfig.get_path("scripts")) / "squawk"
    found = str(program) if program.exists() else shutil.which("squawk")
    if found is None:
        raise LintError(INSTALL)
    config = folder / "squawk.toml"  # an empty one: the project's own is about its .sql files
    config.write_text("")
    command = [found, "--reporter", "json", "--config", str(config), *(["--assume-in-transaction"] if inside else [])]
    files = sorted(str(file) for file in folder.glob("*.sql"))
    done = subprocess.run([*command, *files], capture_output=True, text=True, check=False, timeout=_SECONDS)
    try:
        said: list[dict[str, Any]] = json.loads(done.stdout)
    except ValueError as error:
        raise LintError(f"squawk failed (exit {done.returncode}): {' '.join(done.stderr.split())[:300]}") from error
    # What squawk's own parser does not know is judged by our rules, whose parser is PostgreSQL's.
    return [item for item in said if item["rule_name"] in CATALOG]


def _choose(names: Sequence[str]) -> list[str]:
    about = [rule for rule in ABOUT_ONE_CONSTRAINT if rule in names]
    return [*about[:1], *sorted({name for name in names if name not in ABOUT_ONE_CONSTRAINT})]


def _holds(rule: str, step: Step) -> bool:
    """Whether what squawk says matters to anybody: it does not know which tables are in use, nor what reads rows."""
    if rule in NEED_WORK:
        validates = step.statement.kind == "alter_table_stmt" and all(
            subtype_of(command) == "AT_ValidateConstraint" for command in commands_of(step.statement.body)
        )
        return bool(step.work) and not validates and not (rule == "constraint-missing-not-valid" and _excludes(step))
    if rule == "ban-alter-domain-with-add-constraint":
        name = join_names(step.statement.body["type_name"])
        return reads_domain(step.statement.body) and (bool(step.work) or name not in step.before.domains)
    if rule in NEED_LOCK:
        return bool(step.locks)
    if rule == "require-concurrent-index-deletion":
        known = [name for name in dropped_names(step.statement.body) if name in step.before.indexes]
        return bool(step.locks) or not known
    return True


def _excludes(step: Step) -> bool:
    """Whether it adds an exclusion constraint, which cannot be NOT VALID."""
    commands = commands_of(step.statement.body) if step.statement.kind == "alter_table_stmt" else []
    return any(
        command.get("def", {}).get("constraint", {}).get("contype") == "CONSTR_EXCLUSION" for command in commands
    )


def _name_parts(step: Step) -> dict[str, str]:
    """The names that a rewrite is about."""
    body = step.statement.body
    if step.statement.kind == "index_stmt":
        return {"name": body.get("idxname", ""), "column": list_columns(body)}
    if step.statement.kind == "drop_stmt":
        return {"name": next(iter(dropped_names(body)), "")}
    for command in commands_of(body) if step.statement.kind == "alter_table_stmt" else ():
        constraint = command.get("def", {}).get("constraint")
        if constraint is not None:
            keys = constraint.get("fk_attrs") or constraint.get("keys") or ()
            return {
                "name": constraint.get("conname", ""),
                "column": ", ".join(key["string"]["sval"] for key in keys),
            }
        column = command.get("def", {}).get("column_def", {}).get("colname")
        if column:
            return {"column": column}
    return {}
