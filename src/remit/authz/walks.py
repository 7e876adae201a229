"""Recursion that is a union of steps: a walk down from an object, level by level, as one recursive query.

It carries the objects of one level and those already seen as arrays, so that a cycle ends and the number of levels is
known.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from remit.authz.errors import DEPTH_LIMIT, DEPTH_MARK
from remit.authz.formula import All, Any, Direct, Hop, Node, Term, join_all, references
from remit.authz.relationship_sql import RelationshipSql, join_sql, sure_first


@dataclass(frozen=True, slots=True)
class Product:
    """One alternative of a formula: all conditions, and at most one step into the recursion."""

    conditions: tuple[Term, ...]
    step: Hop | None


class NotLinear(Exception):
    """A recursive formula is not a union of single steps."""


class Walks(RelationshipSql, ABC):
    """Writes walks. What ends one is written by whoever knows all forms of a condition."""

    @abstractmethod
    def term(self, type_name: str, term: Term, object_sql: str) -> str:
        """A boolean expression for a part of a formula."""

    @abstractmethod
    def any_of(self, type_name: str, parts: tuple[Term, ...], object_sql: str) -> str:
        """A disjunction."""

    def products(self, node: Node) -> list[Product]:
        """A recursive node as alternatives of conditions and at most one step each.

        Raises:
            NotLinear: two recursive parts are combined, or one is excluded or asked with `.all`.
        """
        component = self.graph.component(node)

        def split(term: Term) -> list[Product]:
            if not component.intersection(references(term)):
                return [Product((term,), None)]
            match term:
                case Hop():
                    return [Product((), term)]
                case Any(parts):
                    return [product for part in parts for product in split(part)]
                case All(parts):
                    inside = [part for part in parts if component.intersection(references(part))]
                    outside = tuple(part for part in parts if part not in inside)
                    if len(inside) == 1:
                        return [Product((*outside, *product.conditions), product.step) for product in split(inside[0])]
            raise NotLinear

        return split(self.graph.expand(node))

    def linear_products(self, *starts: Node) -> dict[Node, list[Product]] | None:
        """The products of each node that a walk from these comes by; None when one is not linear."""
        found: dict[Node, list[Product]] = {}
        waiting = list(starts)
        try:
            while waiting:
                current = waiting.pop()
                if current not in found:
                    found[current] = self.products(current)
                    waiting += [product.step.target for product in found[current] if product.step is not None]
        except NotLinear:
            return None
        return found

    def try_walk(self, starts: Mapping[Node, str]) -> str | None:
        """The walk down from arrays of objects, level by level; None when the recursion is not linear."""
        products = self.linear_products(*starts)
        if products is None:
            return None
        nodes = sorted(products)
        walk = self.name("walk")
        hits = []
        for index, node in enumerate(nodes):
            ends = [join_all(list(product.conditions)) for product in products[node] if product.step is None]
            probes = [end for end in ends if isinstance(end, Direct)]
            fresh = fresh_sql(walk, index)
            hits += [self.direct(node.type, probe, f"ANY ({fresh})") for probe in probes]
            rest = [end for end in ends if not isinstance(end, Direct)]
            deep = [end for end in rest if self._may_fail(end)]
            for some in ([end for end in rest if end not in deep], deep):
                if some:
                    alias = self.name("u")
                    base = self.any_of(node.type, tuple(some), f"{alias}.id")
                    hits.append(f"EXISTS (SELECT 1 FROM unnest({fresh}) {alias}(id) WHERE {base} OFFSET 0)")
        steps = [
            (node, product, nodes.index(product.step.target))
            for node in nodes
            for product in products[node]
            if product.step
        ]
        levels = self._levels(walk, nodes, starts, steps)
        walks = [
            f"EXISTS ({levels} SELECT 1 FROM {walk} WHERE CASE WHEN {too_deep_sql(walk, len(nodes))}"
            f" THEN {depth_error(f'{walk}.n')} ELSE {join_sql(some, 'OR', 'FALSE')} END OFFSET 0)"
            for some in sure_first(hits) or [[]]
        ]
        return walks[0] if len(walks) == 1 else f"({' OR '.join(walks)})"

    def _may_fail(self, term: Term) -> bool:
        """Whether a part may meet the depth limit: something that it leads to is recursive."""
        return any(self.graph.component(node) or self._may_fail(self.graph.expand(node)) for node in references(term))

    def _levels(
        self,
        walk: str,
        nodes: list[Node],
        starts: Mapping[Node, str],
        steps: list[tuple[Node, Product, int]],
    ) -> str:
        """The WITH of a walk: one row per level, with all objects so far of each node (s), the first l of them old."""
        first, following, columns = [], [], []
        for index, node in enumerate(nodes):
            columns += [f"l{index}", f"s{index}"]
            first += ["0", starts.get(node, "'{}'::uuid[]")]
            arms = []
            for source, product, target in steps:
                if target != index:
                    continue
                assert product.step is not None
                row, fresh = self.name("rw"), fresh_sql(walk, nodes.index(source))
                if not product.conditions:
                    rows = self.rows_of(row, source.type, product.step, f"ANY ({fresh})")
                    arms.append(f"SELECT {row}.subject_id {rows}")
                    continue
                alias = self.name("u")
                conditions = "".join(
                    f" AND {self.term(source.type, condition, f'{alias}.id')}" for condition in product.conditions
                )
                rows = self.rows_of(row, source.type, product.step, f"{alias}.id")
                arms.append(
                    f"SELECT {row}.subject_id FROM unnest({fresh}) {alias}(id)"
                    f" CROSS JOIN LATERAL (SELECT {row}.subject_id {rows}{conditions} OFFSET 0) {row}"
                )
            grown = f"{walk}.s{index}"
            if arms:
                grown += f" || ARRAY(({' UNION '.join(arms)}) EXCEPT SELECT unnest({walk}.s{index}))"
            following += [f"cardinality({walk}.s{index})", grown]
        return (
            f"WITH RECURSIVE {walk}(n, {', '.join(columns)}) AS (SELECT 0, {', '.join(first)}"
            f" UNION ALL SELECT {walk}.n + 1, {', '.join(following)} FROM {walk}"
            f" WHERE {any_fresh_sql(walk, len(nodes))} AND {walk}.n <= {DEPTH_LIMIT})"
        )


def fresh_sql(walk: str, index: int) -> str:
    """The objects that the level of a walk found first, as an array."""
    return f"{walk}.s{index}[{walk}.l{index} + 1:]"


def any_fresh_sql(walk: str, count: int) -> str:
    """Whether the level of a walk found any object."""
    fresh = " OR ".join(f"cardinality({walk}.s{index}) > {walk}.l{index}" for index in range(count))
    return f"({fresh})" if count > 1 else fresh


def too_deep_sql(walk: str, count: int) -> str:
    """Whether a walk found something below the last level that counts."""
    return f"{walk}.n > {DEPTH_LIMIT} AND {any_fresh_sql(walk, count)}"


def depth_error(level_sql: str) -> str:
    """A boolean expression that raises; it depends on a column, so that the planner cannot evaluate it early."""
    return f"('{DEPTH_MARK} ' || {level_sql})::boolean"
