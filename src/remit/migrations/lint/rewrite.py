"""The safe form of a statement as code to paste, made from the statement itself.

Where a rule has no entry here, or the statement is of another kind, the catalog's text is used.
"""

from collections.abc import Callable
from typing import Any

from remit.migrations.lint import rewrite_keys, rewrite_rows, rewrite_tables
from remit.migrations.lint.parse import parse_block
from remit.migrations.lint.rewrite_parts import (
    BLOCK,
    NEXT,
    deparse,
    is_partitioned,
    name_relation,
    quote_name,
    write_call,
)
from remit.migrations.lint.schema import Schema

Maker = Callable[[Any, str, Schema], str | None]
"""Makes the code from the root of the parse tree, its kind, and the tables as they are before it."""


def rewrite(rule: str, sql: str, before: Schema | None = None) -> str | None:
    """The safe form of a statement.

    Args:
        rule: what is wrong with it.
        sql: the statement; of a DO block, the first statement in it that has a safe form counts.
        before: the tables as they are when it runs.

    Returns:
        Python code for a revision, or None if nothing more exact is known than the catalog's text.
    """
    make = _MAKERS.get(rule)
    if make is None:
        return None
    import postgast

    node = postgast.parse(sql).stmts[0].stmt
    kind = node.WhichOneof("node")
    if kind == "do_stmt":
        made = (rewrite(rule, part.sql, before) for part in parse_block(sql) if part.body and part.kind != kind)
        return next((code for code in made if code is not None), None)
    return make(getattr(node, kind), kind, before or Schema())


def _build_index(body: Any, kind: str, before: Schema) -> str | None:
    if kind != "index_stmt" or not body.idxname:
        return None
    if is_partitioned(body.relation, before) and body.relation.inh:
        return _build_on_partitions(body, kind, before) or _build_on_each(body, kind)
    body.concurrent, body.if_not_exists = True, False
    body.access_method = "" if body.access_method == "btree" else body.access_method  # as people write it
    name = f"{body.relation.schemaname}.{body.idxname}" if body.relation.schemaname else body.idxname
    drop = write_call(f"DROP INDEX CONCURRENTLY IF EXISTS {quote_name(name)}")
    return f"{BLOCK}    {drop}  # what a failed build left\n    {write_call(deparse(kind, body))}"


def _build_on_partitions(body: Any, kind: str, before: Schema) -> str | None:
    """The index of the parent empty, that of each partition concurrently, and then attached."""
    partitions = before.list_partitions(body.relation.relname) if kind == "index_stmt" else []
    if not partitions or not body.idxname or body.relation.schemaname:
        return None
    if any(before.tables[name].partitioned for name in partitions):
        return None
    body.access_method = "" if body.access_method == "btree" else body.access_method
    name = body.idxname
    body.concurrent, body.relation.inh = False, False
    parent, builds, attached = write_call(deparse(kind, body)), [], []
    body.concurrent, body.relation.inh = True, True
    for partition in partitions:
        body.relation.schemaname, _, body.relation.relname = partition.rpartition(".")
        body.idxname = f"{name}_{body.relation.relname}"
        own = quote_name(f"{body.relation.schemaname}.{body.idxname}".lstrip("."))
        builds += [write_call(f"DROP INDEX CONCURRENTLY IF EXISTS {own}"), write_call(deparse(kind, body))]
        attached.append(write_call(f"ALTER INDEX {quote_name(name)} ATTACH PARTITION {own}"))
    lines = "\n".join(f"    {line}" for line in builds)
    return "\n".join((parent, NEXT + BLOCK + lines, NEXT + "\n".join(attached)))


def _build_on_each(body: Any, kind: str) -> str:
    """The same for partitions that the history does not tell."""
    body.access_method = "" if body.access_method == "btree" else body.access_method
    name, body.concurrent, body.relation.inh = body.idxname, False, False
    parent = write_call(deparse(kind, body))
    schema = f"{body.relation.schemaname}." if body.relation.schemaname else ""
    body.concurrent, body.relation.inh = True, True
    body.idxname, body.relation.relname = f"{name}_part", "PARTITION"
    attach = write_call(
        f"ALTER INDEX {quote_name(schema + name)} ATTACH PARTITION {quote_name(f'{schema}{name}_part')}"
    )
    build = f"{BLOCK}    {write_call(deparse(kind, body))}"
    return "\n".join((parent, NEXT + "# for each partition\n" + build, NEXT + attach))


def _build_again(body: Any, kind: str, _: Schema) -> str | None:
    if kind != "reindex_stmt":
        return None
    body.params.add().def_elem.defname = "concurrently"
    return f"{BLOCK}    {write_call(deparse(kind, body))}"


def _run_alone(body: Any, kind: str, _: Schema) -> str:
    return f"# in a revision of its own\n{BLOCK}    {write_call(deparse(kind, body))}"


def _work_beside(body: Any, kind: str, before: Schema) -> str | None:
    """What `long-work-under-lock` is about, of several kinds."""
    match kind:
        case "index_stmt":
            return _build_index(body, kind, before)
        case "refresh_mat_view_stmt":
            body.concurrent = True
            return f"{write_call(deparse(kind, body))}  # it needs a unique index on {name_relation(body.relation)}"
        case "vacuum_stmt":
            tables = ", ".join(name_relation(item.vacuum_relation.relation) for item in body.rels)
            return f"{BLOCK}    {write_call(f'VACUUM (ANALYZE) {tables}')}  # to shrink it: pg_repack"
        case "cluster_stmt" if body.relation.relname:
            return f"pass  # in a shell: pg_repack --table {name_relation(body.relation)}, with --order-by as the index"
        case "alter_table_stmt":
            return rewrite_tables.attach_checked(body, kind, before) or rewrite_tables.add_not_valid(body, kind, before)
    return None


_MAKERS: dict[str, Maker] = {
    "adding-field-with-default": rewrite_tables.add_column,
    "adding-foreign-key-constraint": rewrite_tables.add_not_valid,
    "adding-required-field": rewrite_tables.add_column,
    "adding-serial-primary-key-field": rewrite_keys.take_over_index,
    "backfill-in-migration": rewrite_rows.write_in_batches,
    "ban-alter-domain-with-add-constraint": rewrite_tables.add_domain_not_valid,
    "ban-truncate-cascade": rewrite_tables.truncate_named,
    "column-type-rewrites-table": rewrite_tables.change_type,
    "concurrently-in-transaction": _run_alone,
    "concurrently-on-partitioned": _build_on_partitions,
    "constraint-missing-not-valid": rewrite_tables.add_not_valid,
    "disallowed-unique-constraint": rewrite_keys.take_over_index,
    "invalid-index-passes": _build_index,
    "long-work-under-lock": _work_beside,
    "registered-rows-cascade": rewrite_tables.restrict,
    "registered-rows-changed": rewrite_rows.register,
    "rename-breaks-running-code": rewrite_tables.rename,
    "require-concurrent-index-creation": _build_index,
    "require-concurrent-partition-detach": rewrite_tables.detach_concurrently,
    "require-concurrent-reindex": _build_again,
}
