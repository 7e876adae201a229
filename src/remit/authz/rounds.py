"""Recursion of any form: the objects in reach, then rounds that narrow the answer down until nothing changes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from remit.authz.errors import DEPTH_LIMIT
from remit.authz.formula import All, Any, Every, Hop, Node, Not, Term, references
from remit.authz.relationship_sql import OBJECT, join_sql
from remit.authz.walks import Product, Walks, depth_error, too_deep_sql


class Rounds(Walks):
    """Writes the rounds. What is not recursive in them is written by whoever knows all forms of a condition."""

    @abstractmethod
    def check(self, node: Node, object_sql: str = OBJECT) -> str:
        """A boolean expression: the caller holds `node` on the object."""

    def solve(self, node: Node, object_sql: str) -> str:
        """Recursion of any form: find the objects in reach, then narrow the answer down in rounds.

        Each round knows for every object whether it certainly holds (t) and whether it may hold (v), and applies all
        formulas to both (the three-valued fixed point of Fitting 1985). What stays undecided depends on its own
        result; SpiceDB runs into its depth limit there, and so does this.
        """
        nodes = sorted(self.graph.component(node))
        walk, state = self.name("walk"), self.name("state")
        steps = [
            (source, Product((), hop), nodes.index(hop.target))
            for source in nodes
            for hop in self._hops_within(self.graph.expand(source), frozenset(nodes))
        ]
        levels = self._levels(walk, nodes, {node: f"ARRAY[{object_sql}]"}, steps)
        rounds, columns = [], []
        for index, member in enumerate(nodes):
            for side in ("t", "v"):
                alias = self.name("u")
                formula = self._term_within(
                    member.type, self.graph.expand(member), f"{alias}.id", _Round(nodes, state, side)
                )
                columns.append(f"{side}{index}")
                rounds.append(
                    f"ARRAY(SELECT {alias}.id FROM unnest(o.s{index}) {alias}(id) WHERE {formula} ORDER BY 1)"
                    f" AS {side}{index}"
                )
        initial = ", ".join(f"'{{}}'::uuid[], o.s{index}" for index in range(len(nodes)))
        changed = " OR ".join(f"y.{column} IS DISTINCT FROM {state}.{column}" for column in columns)
        seen = ", ".join(f"{walk}.s{index}" for index in range(len(nodes)))
        place = nodes.index(node)
        return (
            f"({levels}, o AS MATERIALIZED (SELECT CASE WHEN {too_deep_sql(walk, len(nodes))} THEN"
            f" {depth_error(f'{walk}.n')} ELSE TRUE END AS fine, {seen} FROM {walk} ORDER BY {walk}.n DESC LIMIT 1),"
            f" {state}(n, {', '.join(columns)}) AS (SELECT 0, {initial} FROM o WHERE o.fine UNION ALL"
            f" SELECT {state}.n + 1, {', '.join(f'y.{column}' for column in columns)} FROM {state} CROSS JOIN o"
            f" CROSS JOIN LATERAL (SELECT {', '.join(rounds)} OFFSET 0) y WHERE {state}.n <= {DEPTH_LIMIT}"
            f" AND NOT {object_sql} = ANY ({state}.t{place}) AND {object_sql} = ANY ({state}.v{place})"
            f" AND ({changed} OR {state}.n = 0))"
            # The inner SELECT comes first: the error must be evaluated for the last round only.
            f" SELECT CASE WHEN {object_sql} = ANY (last.t{place}) THEN TRUE"
            f" WHEN NOT {object_sql} = ANY (last.v{place}) THEN FALSE"
            f" ELSE {depth_error('last.n')} END FROM (SELECT * FROM {state} ORDER BY {state}.n DESC LIMIT 1) last)"
        )

    def _every_of(self, type_name: str, every: Every, object_sql: str, holds: Callable[[Node, str], str]) -> str:
        alias = self.name("re")
        rows = (
            f"FROM relationships {alias} WHERE {alias}.resource_type = {self.codes.types[type_name]}"
            f" AND {alias}.resource_id = {object_sql} AND {alias}.relation = {self.codes.relations[every.relation]}"
            f"{self.alive(alias, every.expiring)}"
        )
        cases = " ".join(
            f"WHEN {self.codes.types[kind]} THEN {holds(target, f'{alias}.subject_id')}"
            for kind, _, target in every.targets
        )
        return (
            f"(EXISTS (SELECT 1 {rows} OFFSET 0) AND NOT EXISTS (SELECT 1 {rows}"
            f" AND NOT (CASE {alias}.subject_type {cases} ELSE FALSE END) OFFSET 0))"
        )

    def _hops_within(self, term: Term, component: frozenset[Node]) -> list[Hop]:
        """Every relationship that leads from one recursive node to another, wherever it stands in the formula."""
        match term:
            case Hop(target=target):
                return [term] if target in component else []
            case Every(relation, targets, expiring):
                return [
                    Hop((relation,), kind, subject_relations, True, target, expiring)
                    for kind, subject_relations, target in targets
                    if target in component
                ]
            case Any(parts) | All(parts):
                return [hop for part in parts for hop in self._hops_within(part, component)]
            case Not(part):
                return self._hops_within(part, component)
        return []

    def _term_within(self, type_name: str, term: Term, object_sql: str, solved: _Round) -> str:
        """A formula in which recursive parts read what the last round found."""
        if not set(solved.nodes).intersection(references(term)):
            return self.term(type_name, term, object_sql)
        match term:
            case Hop(target=target):
                alias = self.name("rs")
                rows = self.rows_of(alias, type_name, term, object_sql)
                return f"EXISTS (SELECT 1 {rows} AND {solved.holds(target, f'{alias}.subject_id')} OFFSET 0)"
            case Every():
                return self._every_of(
                    type_name,
                    term,
                    object_sql,
                    lambda target, id_sql: (
                        solved.holds(target, id_sql) if target in solved.nodes else self.check(target, id_sql)
                    ),
                )
            case Not(part):
                return f"NOT ({self._term_within(type_name, part, object_sql, solved.turned())})"
            case Any(parts):
                inner = [self._term_within(type_name, part, object_sql, solved) for part in parts]
                return join_sql(inner, "OR", "FALSE")
            case All(parts):
                inner = [self._term_within(type_name, part, object_sql, solved) for part in parts]
                return join_sql(inner, "AND", "TRUE")
        raise AssertionError(f"calls are written out before: {term}")


@dataclass(frozen=True, slots=True)
class _Round:
    """How a formula reads the last round: `t` holds certainly, `v` may hold; an exclusion asks the other one."""

    nodes: list[Node]
    state: str
    side: str

    def holds(self, node: Node, id_sql: str) -> str:
        return f"{id_sql} = ANY ({self.state}.{self.side}{self.nodes.index(node)})"

    def turned(self) -> _Round:
        return _Round(self.nodes, self.state, "v" if self.side == "t" else "t")
