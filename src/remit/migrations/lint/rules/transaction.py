"""What only goes wrong because of what else is in the transaction."""

from collections import defaultdict
from collections.abc import Iterator

from remit.migrations.lint.locks import Mode
from remit.migrations.lint.model import Finding
from remit.migrations.lint.parse import commands_of, join_names, name_of, subtype_of
from remit.migrations.lint.rules.finding import find
from remit.migrations.lint.typed_values import find_values
from remit.migrations.lint.view import History, RevisionView, Step


def check_validation(history: History) -> Iterator[Finding]:
    """A constraint added NOT VALID and validated before the lock of the first step is gone."""
    added: dict[tuple[str, str], tuple[int | None, str]] = {}
    for view in history.revisions:
        for step in view.upgrade:
            statement = step.statement
            if statement.kind != "alter_table_stmt":
                continue
            table = name_of(statement.body["relation"])
            for command in commands_of(statement.body):
                kind = subtype_of(command)
                constraint = command.get("def", {}).get("constraint", {})
                if kind == "AT_AddConstraint" and constraint.get("skip_validation"):
                    added[table, constraint.get("conname", "")] = (statement.transaction, view.revision.id)
                elif kind == "AT_ValidateConstraint" and view.revision.asked and table in step.locks:
                    transaction, revision = added.get((table, command["name"]), (None, ""))
                    if transaction is not None and transaction == statement.transaction:
                        where = "" if revision == view.revision.id else f" by revision {revision}"
                        yield find(view, step, "validated-in-same-transaction", name=command["name"], where=where)


def check_work_after_lock(history: History) -> Iterator[Finding]:
    """Time spent while a lock of the transaction stops writers, or another lock waited for while it stops readers."""
    for view in history.asked:
        for steps in (view.upgrade, view.downgrade):
            yield from _check_work(view, steps)


def _check_work(view: RevisionView, steps: tuple[Step, ...]) -> Iterator[Finding]:
    held: dict[int, dict[str, Mode]] = defaultdict(dict)
    told: set[int] = set()
    added: set[str] = set()
    for step in steps:
        number = step.statement.transaction
        if number is None:
            continue
        before = held[number]
        strongest = max(before.values(), default=Mode.ACCESS_SHARE)
        mode, who = ("ACCESS EXCLUSIVE", "readers and writers") if strongest == Mode.ACCESS_EXCLUSIVE else (
            strongest.name.replace("_", " "), "writers"
        )  # fmt: skip
        stopped = ", ".join(table for table, kept in before.items() if kept == strongest)
        validated = _names(step, "AT_ValidateConstraint")
        if before and number not in told and not validated & added:
            if step.work:
                told.add(number)
                table, work = next(iter(step.work.items()))
                yield find(
                    view, step, "work-after-exclusive-lock", table=table, work=work, stopped=stopped, mode=mode, who=who
                )
            elif strongest == Mode.ACCESS_EXCLUSIVE and _waits_for_other(step, before):
                told.add(number)
                yield find(view, step, "second-lock-in-transaction", stopped=stopped)
        added |= _names(step, "AT_AddConstraint")
        for table, kept in step.locks.items():
            # A statement that is long itself, as a plain build of an index, is found by itself.
            if kept == Mode.ACCESS_EXCLUSIVE or (kept >= Mode.SHARE and not step.work):
                before[table] = max(kept, before.get(table, kept))


def _names(step: Step, kind: str) -> set[str]:
    if step.statement.kind != "alter_table_stmt":
        return set()
    found = [command for command in commands_of(step.statement.body) if subtype_of(command) == kind]
    return {command.get("name") or command["def"]["constraint"].get("conname", "") for command in found}


def _waits_for_other(step: Step, held: dict[str, Mode]) -> bool:
    return any(mode >= Mode.SHARE_ROW_EXCLUSIVE and table not in held for table, mode in step.locks.items())


def check_enum_values(history: History) -> Iterator[Finding]:
    """An enum's new value used before the transaction that adds it is committed."""
    added: dict[int, dict[str, str]] = defaultdict(dict)
    for view in history.revisions:
        for step in view.upgrade:
            statement = step.statement
            if statement.transaction is None:
                continue
            news = added[statement.transaction]
            for part in (statement, *statement.inner):
                if part.kind == "alter_enum_stmt" and "old_val" not in part.body:
                    name = join_names(part.body["type_name"])
                    if step.before.types.get(name) != statement.revision:
                        news[part.body["new_val"]] = name
                    continue
                used = next((value for value in find_values(part.body, step.before, news) if value in news), None)
                if used is not None and view.revision.asked:
                    yield find(view, step, "enum-value-used-too-early", value=used, type=news[used])
                    break
