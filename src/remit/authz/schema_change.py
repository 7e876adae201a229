"""Applies a new schema: shows what changes, and refuses what would orphan relationships."""

from dataclasses import dataclass

from remit.authz.engine import Connection
from remit.authz.errors import SchemaInUse
from remit.authz.schema import parse_schema
from remit.authz.schema_check import check_schema
from remit.authz.schema_print import print_expression
from remit.authz.schema_store import lock_schema, read_schema, store_version
from remit.authz.schema_tree import Definition, Permission, Relation, Schema


@dataclass(frozen=True, slots=True)
class SchemaChange:
    """What a new schema adds, removes and changes, a line each (`+`, `-`, `~`).

    Attributes:
        version: the version that now holds; None when nothing was applied.
    """

    lines: tuple[str, ...]
    version: int | None


def compare_schemas(old: Schema, new: Schema) -> tuple[str, ...]:
    """The differences that change answers or what may be written; comments and order do not count."""
    lines = []
    before, after = _members(old), _members(new)
    for name in sorted(before.keys() | after.keys()):
        if name not in after:
            lines.append(f"- {name}: {before[name]}" if before[name] else f"- {name}")
        elif name not in before:
            lines.append(f"+ {name}: {after[name]}" if after[name] else f"+ {name}")
        elif before[name] != after[name]:
            lines.append(f"~ {name}: {before[name]}  ->  {after[name]}")
    return tuple(lines)


async def apply_schema(
    connection: Connection, source: str, applied_by: str, file: str = "schema.zed", *, dry_run: bool = False
) -> SchemaChange:
    """Compare a schema with the one that holds and store it as the newest version, in the caller's transaction.

    Other processes take it over with `PostgresEngine.refresh`. Until then they still write by the schema before.

    Raises:
        SchemaError: the schema is refused.
        SchemaInUse: relationships exist that it would no longer allow; the message says how many, and on what.
    """
    new = check_schema(parse_schema(source, file))
    await lock_schema(connection)
    current = await read_schema(connection)
    lines = compare_schemas(current.schema, new)
    await _refuse_orphans(connection, new)
    if dry_run or (not lines and current.schema.source == source):
        return SchemaChange(lines, None)
    return SchemaChange(lines, await store_version(connection, new, applied_by))


def _members(schema: Schema) -> dict[str, str]:
    found = {}
    for definition in schema.definitions:
        found[f"definition {definition.name}"] = ""
        for member in definition.members:
            if isinstance(member, Permission):
                found[f"permission {definition.name}#{member.name}"] = print_expression(member.expression)
            else:
                kinds = sorted(map(str, member.allowed))
                found[f"relation {definition.name}#{member.name}"] = " | ".join(kinds)
    return found


async def _refuse_orphans(connection: Connection, new: Schema) -> None:
    rows = await connection.fetch(
        "SELECT q.*, t.name AS resource_name, n.name AS relation_name, s.name AS subject_name, m.name AS set_name"
        " FROM (SELECT resource_type, relation, subject_type, subject_relation,"
        " subject_id = '00000000-0000-0000-0000-000000000000' AS everyone, expires_at IS NOT NULL AS expiring,"
        " count(*) AS count, min(resource_id::text) AS example FROM relationships GROUP BY 1, 2, 3, 4, 5, 6) q"
        " JOIN authz_types t ON t.code = q.resource_type JOIN authz_relations n ON n.code = q.relation"
        " JOIN authz_types s ON s.code = q.subject_type LEFT JOIN authz_relations m ON m.code = q.subject_relation"
        " ORDER BY 1, 2, 3, 4, 5, 6"
    )
    problems = []
    for row in rows:
        definition = new.get(row["resource_name"])
        relation = definition.get(row["relation_name"]) if definition else None
        kind = (row["subject_name"], row["set_name"], row["everyone"], row["expiring"])
        if not _takes(definition, relation, kind):
            subject = row["subject_name"] + (
                ":*" if row["everyone"] else f"#{row['set_name']}" if row["set_name"] else ""
            )
            subject += " with expiration" if row["expiring"] else ""
            problems.append(
                f"{row['count']} relationships {row['resource_name']}#{row['relation_name']}@{subject},"
                f" for example on {row['resource_name']}:{row['example']}"
            )
    if problems:
        raise SchemaInUse(
            "the new schema does not allow what is written: " + "; ".join(problems),
            file=new.file,
            suggestion="remove these relationships first, or keep the relation",
        )


def _takes(
    definition: Definition | None, relation: Relation | Permission | None, kind: tuple[str, str | None, bool, bool]
) -> bool:
    if definition is None or not isinstance(relation, Relation):
        return False
    return any(
        (allowed.type, allowed.relation, allowed.wildcard, allowed.expiration) == kind for allowed in relation.allowed
    )
