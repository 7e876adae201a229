"""Applies a new schema: shows what changes, and refuses what would orphan relationships."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from remit.authz.engine import Connection
from remit.authz.errors import SchemaInUse
from remit.authz.relationship_sql import EVERYONE_SQL
from remit.authz.schema import parse_schema
from remit.authz.schema_check import check_schema
from remit.authz.schema_print import print_expression
from remit.authz.schema_store import lock_schema, read_schema, store_version
from remit.authz.schema_tree import AllowedType, Definition, Permission, Relation, Schema

_KIND_COLUMNS: Final = ("resource_type", "relation", "subject_type", "subject_relation", "everyone", "expiring")
_KIND: Final = (
    "resource_type, relation, subject_type, subject_relation,"
    f" subject_id = {EVERYONE_SQL} AS everyone, expires_at IS NOT NULL AS expiring"
)
_NAMED: Final = 5


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
        SchemaInUse: relationships exist that it would no longer allow; the message says how many, and on
            which resources.
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
        f" FROM (SELECT {_KIND}, count(*) AS count FROM relationships GROUP BY 1, 2, 3, 4, 5, 6) q"
        " JOIN authz_types t ON t.code = q.resource_type JOIN authz_relations n ON n.code = q.relation"
        " JOIN authz_types s ON s.code = q.subject_type LEFT JOIN authz_relations m ON m.code = q.subject_relation"
        " ORDER BY t.name, n.name, s.name, m.name NULLS FIRST, q.everyone, q.expiring"
    )
    problems = []
    for row in rows:
        definition = new.get(row["resource_name"])
        relation = definition.get(row["relation_name"]) if definition else None
        kind = (row["subject_name"], row["set_name"], row["everyone"], row["expiring"])
        if not _takes(definition, relation, kind):
            allowed = AllowedType(row["subject_name"], row["set_name"], row["everyone"], row["expiring"])
            problems.append(
                f"{row['count']:,} relationship{'s' if row['count'] > 1 else ''}"
                f" {row['resource_name']}#{row['relation_name']}@{allowed}"
                f" on {await _name_resources(connection, row)}"
            )
    if problems:
        raise SchemaInUse(
            "the new schema does not allow what is written:\n    " + "\n    ".join(problems),
            file=new.file,
            suggestion="remove these relationships first, or let the schema still take them",
        )


async def _name_resources(connection: Connection, kind: Mapping[str, object]) -> str:
    """The first resources on which relationships of a kind are written, and how many there are."""
    same = " AND ".join(f"{column} = ${number}" for number, column in enumerate(_KIND_COLUMNS, 1))
    values = [kind[column] for column in _KIND_COLUMNS]
    found = await connection.fetch(
        "SELECT q.resource_id, i.text FROM (SELECT DISTINCT resource_type, resource_id FROM"
        f" (SELECT {_KIND}, resource_id FROM relationships) r WHERE {same} ORDER BY resource_id LIMIT {_NAMED + 1}) q"
        " LEFT JOIN authz_ids i ON i.type = q.resource_type AND i.id = q.resource_id ORDER BY q.resource_id",
        *values,
    )
    names = [f"{kind['resource_name']}:{row['text'] or row['resource_id']}" for row in found]
    if len(names) <= _NAMED:
        return ", ".join(names)
    count = await connection.fetchval(
        f"SELECT count(DISTINCT resource_id) FROM (SELECT {_KIND}, resource_id FROM relationships) r WHERE {same}",
        *values,
    )
    return f"{', '.join(names[:_NAMED])} and {count - _NAMED:,} more"


def _takes(
    definition: Definition | None, relation: Relation | Permission | None, kind: tuple[str, str | None, bool, bool]
) -> bool:
    if definition is None or not isinstance(relation, Relation):
        return False
    return any(
        (allowed.type, allowed.relation, allowed.wildcard, allowed.expiration) == kind for allowed in relation.allowed
    )
