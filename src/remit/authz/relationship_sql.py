"""SQL for the relationships of an object: names, codes, the conditions that every form of a permission shares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from remit.authz.errors import DEPTH_MARK
from remit.authz.formula import Direct, Hop
from remit.authz.graph import Graph

CALLER: Final = "@CALLER@"
OBJECT: Final = "@OBJECT@"
EVERYONE_SQL: Final = "'00000000-0000-0000-0000-000000000000'::uuid"


@dataclass(frozen=True, slots=True)
class Codes:
    """The numbers that types and relations have in the database."""

    types: Mapping[str, int]
    relations: Mapping[str, int]

    def relation(self, name: str | None) -> int:
        """The code of a subject relation; 0 is the subject itself."""
        return 0 if name is None else self.relations[name]


class RelationshipSql:
    """Writes conditions on relationships for one kind of caller, with `CALLER` and `OBJECT` where the ids go."""

    def __init__(self, graph: Graph, codes: Codes) -> None:
        self.graph = graph
        self.codes = codes
        self._count = 0

    def name(self, prefix: str) -> str:
        """A table alias that no other part of the text uses."""
        self._count += 1
        return f"{prefix}{self._count}"

    def alive(self, alias: str, expiring: bool) -> str:
        """The condition that a relationship has not expired, nothing when it cannot."""
        return f" AND ({alias}.expires_at IS NULL OR {alias}.expires_at > now())" if expiring else ""

    def relation_is(self, column: str, relations: tuple[str, ...]) -> str:
        """A condition on a relation column."""
        codes = sorted(self.codes.relations[relation] for relation in relations)
        if len(codes) == 1:
            return f"{column} = {codes[0]}"
        return f"{column} = ANY ('{{{','.join(map(str, codes))}}}'::smallint[])"

    def caller_subject(self, everyone: bool) -> tuple[int, str, int]:
        """Type code, id expression and relation code of the caller as a subject, or of `*`."""
        type_code = self.codes.types[self.graph.subject_type]
        if everyone:
            return type_code, EVERYONE_SQL, 0
        return type_code, CALLER, self.codes.relation(self.graph.subject_relation)

    def rows_of(self, alias: str, type_name: str, hop: Hop, object_sql: str) -> str:
        """FROM and WHERE of the relationships that a hop follows from an object."""
        types = self.codes.types
        sql = (
            f"FROM relationships {alias} WHERE {alias}.resource_type = {types[type_name]}"
            f" AND {alias}.resource_id = {object_sql} AND {self.relation_is(f'{alias}.relation', hop.relations)}"
            f" AND {alias}.subject_type = {types[hop.subject_type]}"
        )
        if not hop.any_subject_relation:
            sql += f" AND {alias}.subject_relation = {self.codes.relation(hop.subject_relations[0])}"
        return sql + self.alive(alias, hop.expiring)

    def direct(self, type_name: str, direct: Direct, object_sql: str) -> str:
        """The caller himself, or everyone, stands in a relation of the object."""
        alias = self.name("rd")
        subject_type, subject_id, subject_relation = self.caller_subject(direct.everyone)
        return (
            f"EXISTS (SELECT 1 FROM relationships {alias} WHERE {alias}.resource_type = {self.codes.types[type_name]}"
            f" AND {alias}.resource_id = {object_sql} AND {self.relation_is(f'{alias}.relation', direct.relations)}"
            f" AND {alias}.subject_type = {subject_type} AND {alias}.subject_id = {subject_id}"
            f" AND {alias}.subject_relation = {subject_relation}{self.alive(alias, direct.expiring)} OFFSET 0)"
        )


def join_sql(parts: list[str], operator: str, empty: str) -> str:
    """Conditions joined by AND or OR; `empty` where there are none."""
    if not parts:
        return empty
    # What may fail at the depth limit comes last: often the answer is known before.
    parts = sorted(parts, key=lambda part: DEPTH_MARK in part)
    return parts[0] if len(parts) == 1 else "(" + f" {operator} ".join(parts) + ")"


def sure_first(conditions: list[str]) -> list[list[str]]:
    """Conditions that always answer, and those that may fail at the depth limit.

    Each lot is asked of all rows before the next, so that whether a question fails does not hang on the order of rows.
    """
    sure = [condition for condition in conditions if DEPTH_MARK not in condition]
    return [some for some in (sure, [condition for condition in conditions if condition not in sure]) if some]
