"""The way back: what it loses, and what it only seems to bring back."""

from collections.abc import Iterator

from remit.migrations.lint.model import Finding
from remit.migrations.lint.parse import commands_of, dropped_names, name_of, subtype_of
from remit.migrations.lint.rules.finding import find
from remit.migrations.lint.view import History, RevisionView, Step


def check_downgrades(history: History) -> Iterator[Finding]:
    """Rows, columns and tables that a downgrade removes or cannot fill again."""
    for view in history.asked:
        gone = {what for step in view.upgrade for what in _list_dropped(step)}
        made = _find_made(view.upgrade)
        own: dict[int, tuple[Step, list[str]]] = {}
        for step in view.downgrade:
            yield from _check_step(view, step, gone, made)
            for what in _list_dropped(step):
                if what in made:
                    own.setdefault(step.statement.sites[-1].line if step.statement.sites else 0, (step, []))[1].append(
                        what
                    )
        for step, names in own.values():
            yield find(view, step, "downgrade-loses-data", level="note", what=_join(names))


def _join(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _check_step(view: RevisionView, step: Step, gone: set[str], made: set[str]) -> Iterator[Finding]:
    foreign = [what for what in _list_dropped(step) if what not in made]
    deletes = step.statement.kind in ("truncate_stmt", "delete_stmt") and bool(step.locks)
    if foreign or deletes:
        yield find(view, step, "downgrade-loses-data", what=foreign[0] if foreign else f"rows of {step.table}")
    for what in _list_made(step):
        if what in gone:
            yield find(view, step, "downgrade-cannot-restore", what=what)


def _list_dropped(step: Step) -> list[str]:
    """The columns and tables that a statement removes, as `table.column` and `table`."""
    body = step.statement.body
    if step.statement.kind == "drop_stmt" and body["remove_type"] == "OBJECT_TABLE":
        return dropped_names(body)
    if step.statement.kind == "alter_table_stmt":
        table = name_of(body["relation"])
        return [f"{table}.{item['name']}" for item in commands_of(body) if subtype_of(item) == "AT_DropColumn"]
    return []


def _find_made(steps: tuple[Step, ...]) -> set[str]:
    """The columns and tables that are new after the steps; what was there before is not, under whatever name."""
    made: set[str] = set()
    for step in steps:
        body = step.statement.body
        if step.statement.kind == "rename_stmt" and "relation" in body:
            table = name_of(body["relation"])
            old = table if body["rename_type"] == "OBJECT_TABLE" else f"{table}.{body.get('subname', '')}"
            if old not in made and table not in made:
                continue
        made.update(_list_made(step))
    return made


def _list_made(step: Step) -> list[str]:
    body = step.statement.body
    if step.statement.kind == "create_stmt":
        return [name_of(body["relation"])]
    if step.statement.kind == "rename_stmt" and "relation" in body:
        table = name_of(body["relation"])
        return [body["newname"] if body["rename_type"] == "OBJECT_TABLE" else f"{table}.{body['newname']}"]
    if step.statement.kind == "alter_table_stmt":
        table = name_of(body["relation"])
        commands = [item for item in commands_of(body) if subtype_of(item) == "AT_AddColumn"]
        return [f"{table}.{item['def']['column_def']['colname']}" for item in commands]
    return []
