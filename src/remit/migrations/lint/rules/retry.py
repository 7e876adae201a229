"""What a failure in the middle leaves behind, and what makes it fail."""

from collections.abc import Iterator
from itertools import groupby

from remit.migrations.lint.locks import Mode, is_concurrent_reindex, says_no
from remit.migrations.lint.model import Finding, Level, Node, Statement
from remit.migrations.lint.parse import commands_of, dropped_names, name_of, subtype_of
from remit.migrations.lint.rewrite_parts import BLOCK, NEXT, write_call
from remit.migrations.lint.rules.finding import find
from remit.migrations.lint.rules.statement import each_step
from remit.migrations.lint.view import History, RevisionView, Step

_REPEATABLE_COMMANDS = {
    "AT_SetNotNull", "AT_DropNotNull", "AT_ColumnDefault", "AT_AlterColumnType", "AT_ValidateConstraint",
    "AT_SetStatistics", "AT_SetOptions", "AT_SetRelOptions", "AT_ResetRelOptions", "AT_EnableTrig", "AT_DisableTrig",
    "AT_EnableRowSecurity", "AT_DisableRowSecurity", "AT_ReplicaIdentity", "AT_ChangeOwner",
}  # fmt: skip
_ONCE = {
    "create_enum_stmt", "create_domain_stmt", "create_policy_stmt", "rename_stmt", "composite_type_stmt",
    "create_range_stmt", "alter_object_schema_stmt",
}  # fmt: skip
_GUARDED = {
    "create_stmt", "create_table_as_stmt", "index_stmt", "create_schema_stmt", "create_seq_stmt",
    "create_extension_stmt",
}  # fmt: skip


_OUTSIDE_ONLY = {
    "alter_system_stmt", "createdb_stmt", "dropdb_stmt", "create_table_space_stmt", "drop_table_space_stmt",
    "drop_subscription_stmt",
}  # fmt: skip


def check_autocommit(history: History) -> Iterator[Finding]:
    """An autocommit block commits what came before it; when it fails, the revision is not stamped and starts again."""
    for view in history.asked:
        for steps in (view.upgrade, view.downgrade):
            yield from _check_block(view, steps)


def _check_block(view: RevisionView, steps: tuple[Step, ...]) -> Iterator[Finding]:
    once: Statement | None = None
    dropped: set[str] = set()
    for place, step in enumerate(steps):
        statement = step.statement
        outside = statement.transaction is None
        # Of several statements in one block the later ones are left in peace: each takes its time and fails rarely.
        ended = once is not None and (not outside or once.transaction is not None)
        if ended and once is not None and statement.transaction != once.transaction and not _is_setting(statement):
            code = _move_rest(steps[place:])
            yield find(view, step, "autocommit-commits-earlier-half", code=code, earlier=_shorten(once.sql))
            return
        if once is None and not _can_repeat(statement, dropped):
            once = statement
        dropped |= _find_guarded_drops(statement)


def _move_rest(steps: tuple[Step, ...]) -> str:
    """The rest of a revision in revisions of its own: a block is one, and what follows it another."""
    parts = ["# this revision ends here\n"]
    for number, group in groupby(steps, key=lambda step: step.statement.transaction):
        calls = [write_call(step.statement.sql) for step in group]
        inside = BLOCK + "\n".join(f"    {call}" for call in calls)
        parts.append(NEXT + (inside if number is None else "\n".join(calls)) + "\n")
    return "".join(parts).rstrip("\n")


def _is_setting(statement: Statement) -> bool:
    kinds = ("variable_set_stmt", "variable_show_stmt", "select_stmt", "discard_stmt")
    return statement.kind in kinds and not statement.inner


def _can_repeat(statement: Statement, dropped: set[str]) -> bool:
    kind, body = statement.kind, statement.body
    if kind in _ONCE:
        return bool(dropped & _made_names(kind, body))
    if kind in _GUARDED:
        return bool(body.get("if_not_exists")) or bool(dropped & _made_names(kind, body))
    if kind == "drop_stmt":
        return bool(body.get("missing_ok"))
    if kind == "create_trig_stmt":
        return bool(body.get("replace")) or body["trigname"] in dropped
    if kind == "alter_enum_stmt":
        return bool(body.get("skip_if_new_val_exists"))
    if kind == "insert_stmt":
        return "on_conflict_clause" in body or "where_clause" in body.get("select_stmt", {}).get("select_stmt", {})
    if kind == "alter_table_stmt":
        return all(_can_repeat_command(command, dropped) for command in commands_of(body))
    return True


def _can_repeat_command(command: Node, dropped: set[str]) -> bool:
    kind = subtype_of(command)
    if kind == "AT_AddConstraint":
        return command["def"]["constraint"].get("conname") in dropped
    return kind in _REPEATABLE_COMMANDS or bool(command.get("missing_ok"))


def _made_names(kind: str, body: Node) -> set[str]:
    if kind == "index_stmt":
        return {body.get("idxname", "")}
    if kind in ("create_enum_stmt", "composite_type_stmt"):
        items = body.get("type_name", ())
        return {items[-1]["string"]["sval"]} if items else set()
    return {body["relation"]["relname"]} if "relation" in body else set()


def _find_guarded_drops(statement: Statement) -> set[str]:
    if statement.kind == "drop_stmt" and statement.body.get("missing_ok"):
        names = dropped_names(statement.body)
        return {*names, *(name.rpartition(".")[2] for name in names)}
    if statement.kind == "alter_table_stmt":
        commands = commands_of(statement.body)
        return {
            command["name"]
            for command in commands
            if subtype_of(command) == "AT_DropConstraint" and command.get("missing_ok")
        }
    return set()


def check_invalid_indexes(history: History) -> Iterator[Finding]:
    """IF NOT EXISTS finds the invalid index of a build that failed, and reports success."""
    for view in history.asked:
        for steps in (view.upgrade, view.downgrade):
            dropped: set[str] = set()
            for step in steps:
                body = step.statement.body
                if step.statement.kind == "drop_stmt" and body["remove_type"] == "OBJECT_INDEX":
                    dropped |= {name.rpartition(".")[2] for name in dropped_names(body)}
                elif _is_risky_build(step) and body.get("idxname") not in dropped:
                    yield find(
                        view, step, "invalid-index-passes", name=body.get("idxname", ""), column=list_columns(body)
                    )


def list_columns(body: Node) -> str:
    """The columns of an index, as its definition has them; empty if it indexes an expression."""
    names = [item["index_elem"].get("name", "") for item in body.get("index_params", ())]
    return ", ".join(names) if all(names) else ""


def _is_risky_build(step: Step) -> bool:
    body = step.statement.body
    return step.statement.kind == "index_stmt" and bool(
        body.get("concurrent") and body.get("if_not_exists") and step.locks
    )


def check_time_limits(history: History) -> Iterator[Finding]:
    """A lock timeout that is no longer, or not yet, in effect; one that would end a concurrent build."""
    for view in history.asked:
        told = False
        set_somewhere = any(step.limits.apply(step.statement).set_here & {"lock_timeout"} for step in view.upgrade)
        for step in each_step(view):
            if is_patient(step):
                yield from _check_build(view, step)
                continue
            strong = any(mode >= Mode.SHARE for mode in step.locks.values())
            if step.statement.direction == "downgrade" or not strong or step.limits.get("lock_timeout") > 0:
                continue
            if set_somewhere or step.limits.initial.get("lock_timeout", 0) > 0:
                yield find(view, step, "lock-timeout-not-in-effect")
            elif not told:
                told = True
                yield find(view, step, "no-lock-timeout")


def check_concurrently(history: History) -> Iterator[Finding]:
    """What PostgreSQL refuses inside a transaction block."""
    for view in history.asked:
        for step in each_step(view):
            if step.statement.transaction is not None and _refuses_transaction(step):
                yield find(view, step, "concurrently-in-transaction")


def check_partitioned(history: History) -> Iterator[Finding]:
    """CONCURRENTLY on a partitioned table, which PostgreSQL refuses."""
    for view in history.asked:
        for step in each_step(view):
            body = step.statement.body
            if step.statement.kind == "index_stmt" and body.get("concurrent"):
                name = name_of(body["relation"])
                known = step.before.tables.get(name)
                if known is not None and known.partitioned:
                    yield find(
                        view, step, "concurrently-on-partitioned", table=name, name=body.get("idxname", ""),
                        column=list_columns(body),
                    )  # fmt: skip


def _refuses_transaction(step: Step) -> bool:
    statement = step.statement
    if statement.kind in _OUTSIDE_ONLY:
        return True
    if statement.kind in ("reindex_stmt", "cluster_stmt") and "relation" not in statement.body:
        return True
    if statement.kind == "create_subscription_stmt":
        options = {item["def_elem"]["defname"]: item["def_elem"] for item in statement.body.get("options", ())}
        return not any(name in options and says_no(options[name]) for name in ("create_slot", "connect"))
    if statement.kind == "vacuum_stmt":
        return bool(statement.body.get("is_vacuumcmd"))
    if statement.kind == "alter_table_stmt":
        parts = [command.get("def", {}).get("partition_cmd", {}) for command in commands_of(statement.body)]
        return any(part.get("concurrent") for part in parts)
    return is_patient(step)


def is_patient(step: Step) -> bool:
    """Whether a statement waits for old transactions, holding a lock that lets readers and writers pass."""
    statement = step.statement
    if statement.kind == "reindex_stmt":
        return is_concurrent_reindex(statement.body)
    return statement.kind in ("index_stmt", "drop_stmt") and bool(statement.body.get("concurrent"))


def _check_build(view: RevisionView, step: Step) -> Iterator[Finding]:
    hour = 3_600_000
    for name in ("statement_timeout", "lock_timeout"):
        limit = step.limits.get(name)
        if 0 < limit < hour and step.statement.kind != "drop_stmt":
            level: Level = "error" if name == "statement_timeout" else "warn"
            yield find(
                view, step, "timeout-ends-concurrent-build", level=level, limit=f"{name} = {limit:.0f} ms",
                setting=name, name=step.statement.body.get("idxname", ""),
            )  # fmt: skip
            return


def _shorten(sql: str) -> str:
    text = " ".join(sql.split())
    return text if len(text) <= 80 else f"{text[:79]}…"
