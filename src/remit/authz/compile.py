"""Compiles a permission into one boolean SQL expression.

A check starts at the resource and probes the caller. Each hop is an EXISTS of its own, fenced by OFFSET 0: without
the fence the planner turns it into a join and reads every group of the caller. Nested groups and folders become a
walk (`walks.py`). Recursion that is not a plain union of steps (an intersection or `.all` of two recursive parts, or
an exclusion of one) is solved over the objects in reach by repeating until nothing changes (`rounds.py`).
"""

from __future__ import annotations

from typing import Final

from remit.authz.errors import SchemaError
from remit.authz.formula import All, Any, Call, Direct, Every, Hop, Node, Not, Same, Term
from remit.authz.relationship_sql import CALLER, OBJECT, join_sql, sure_first
from remit.authz.rounds import Rounds

MAX_SQL: Final = 1_000_000

_Starts = dict[Node, list[str]]
"""Where walks of one recursion start: SELECTs of ids for each node."""


class Compiler(Rounds):
    """Writes SQL for one kind of caller. The text holds `CALLER` and `OBJECT` where the ids go."""

    def check(self, node: Node, object_sql: str = OBJECT) -> str:
        """A boolean expression, never NULL: the caller holds `node` on the object.

        Raises:
            PermissionUnknown: there is no such node.
            SchemaError: the permission is too large to compile.
        """
        sql = (
            self._recursive(node, object_sql)
            if self.graph.component(node)
            else self.term(node.type, self.graph.expand(node), object_sql)
        )
        if len(sql) > MAX_SQL:
            raise SchemaError(f"permission {node.type}#{node.name} is too large to compile", suggestion="split it")
        return sql

    def term(self, type_name: str, term: Term, object_sql: str) -> str:
        """A boolean expression for a part of a formula."""
        match term:
            case Same():
                return f"({object_sql} = {CALLER}) IS TRUE"
            case Direct():
                return self.direct(type_name, term, object_sql)
            case Hop():
                return self._hop(type_name, term, object_sql)
            case Every():
                return self._every(type_name, term, object_sql)
            case Call(node):
                return self.check(node, object_sql)
            case Not(part):
                return f"NOT ({self.term(type_name, part, object_sql)})"
            case Any(parts):
                return self.any_of(type_name, parts, object_sql)
            case All(parts):
                return join_sql([self.term(type_name, part, object_sql) for part in parts], "AND", "TRUE")

    def any_of(self, type_name: str, parts: tuple[Term, ...], object_sql: str) -> str:
        """A disjunction in which all parts that end in one recursion share one walk.

        What a statement costs is mostly the start of its plan, node by node, whether it comes to run or not.
        """
        plain, starts = self._gather(type_name, parts, object_sql)
        for members in starts:
            walk = self.try_walk({node: f"ARRAY({' UNION ALL '.join(sql)})" for node, sql in members.items()})
            assert walk is not None
            plain.append(walk)
        return join_sql(plain, "OR", "FALSE")

    def _gather(self, type_name: str, parts: tuple[Term, ...], object_sql: str) -> tuple[list[str], list[_Starts]]:
        """Split a disjunction into conditions, and SELECTs of the objects from which walks start."""
        plain: list[str] = []
        starts: dict[frozenset[Node], _Starts] = {}

        def start(node: Node, select: str) -> None:
            starts.setdefault(self.graph.component(node), {}).setdefault(node, []).append(select)

        for part in parts:
            if isinstance(part, Call) and self._walks(part.node):
                start(part.node, f"SELECT {object_sql}")
            elif isinstance(part, Hop) and self._walks(part.target):
                alias = self.name("rh")
                start(part.target, f"SELECT {alias}.subject_id {self.rows_of(alias, type_name, part, object_sql)}")
            elif isinstance(part, Hop) and not self.graph.component(part.target):
                alias = self.name("rh")
                rows = self.rows_of(alias, type_name, part, object_sql)
                formula = self.graph.expand(part.target)
                inner = formula.parts if isinstance(formula, Any) else (formula,)
                conditions, further = self._gather(part.target.type, inner, f"{alias}.subject_id")
                plain += [
                    f"EXISTS (SELECT 1 {rows} AND {join_sql(some, 'OR', 'FALSE')} OFFSET 0)"
                    for some in sure_first(conditions)
                ]
                for members in further:
                    for node, selects in members.items():
                        for select in selects:
                            found = self.name("rf")
                            start(
                                node,
                                f"SELECT {found}.id FROM (SELECT {alias}.subject_id {rows} OFFSET 0) {alias}"
                                f" CROSS JOIN LATERAL ({select} OFFSET 0) {found}(id)",
                            )
            else:
                plain.append(self.term(type_name, part, object_sql))
        return plain, list(starts.values())

    def _walks(self, node: Node) -> bool:
        return bool(self.graph.component(node)) and self.linear_products(node) is not None

    def _hop(self, type_name: str, hop: Hop, object_sql: str) -> str:
        if self._walks(hop.target) or not self.graph.component(hop.target):
            return self.any_of(type_name, (hop,), object_sql)
        alias = self.name("rh")
        rows = self.rows_of(alias, type_name, hop, object_sql)
        return f"EXISTS (SELECT 1 {rows} AND {self.check(hop.target, f'{alias}.subject_id')} OFFSET 0)"

    def _every(self, type_name: str, every: Every, object_sql: str) -> str:
        return self._every_of(type_name, every, object_sql, self.check)

    def _recursive(self, node: Node, object_sql: str) -> str:
        walk = self.try_walk({node: f"ARRAY[{object_sql}]"})
        return walk if walk is not None else self.solve(node, object_sql)
