"""Compiles a permission into one boolean SQL expression.

A check starts at the resource and probes the caller. Each hop is an EXISTS of its own, fenced by OFFSET 0: without
the fence the planner turns it into a join and reads every group of the caller. Nested groups and folders become a
walk: a recursive query that carries the objects of one level and those already seen as arrays, so that a cycle ends
and the number of levels is known. Recursion that is not a plain union of steps (an intersection or `.all` of two
recursive parts, or an exclusion of one) is solved over the objects in reach by repeating until nothing changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from remit.authz.errors import DEPTH_LIMIT, DEPTH_MARK, SchemaError
from remit.authz.formula import All, Any, Call, Direct, Every, Hop, Node, Not, Same, Term, join_all, references
from remit.authz.graph import Graph

CALLER: Final = "@CALLER@"
OBJECT: Final = "@OBJECT@"
EVERYONE_SQL: Final = "'00000000-0000-0000-0000-000000000000'::uuid"
MAX_SQL: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Codes:
    """The numbers that types and relations have in the database."""

    types: Mapping[str, int]
    relations: Mapping[str, int]

    def relation(self, name: str | None) -> int:
        """The code of a subject relation; 0 is the subject itself."""
        return 0 if name is None else self.relations[name]


@dataclass(frozen=True, slots=True)
class Product:
    """One alternative of a formula: all conditions, and at most one step into the recursion."""

    conditions: tuple[Term, ...]
    step: Hop | None


_Starts = dict[Node, list[str]]
"""Where walks of one recursion start: SELECTs of ids for each node."""


class NotLinear(Exception):
    """A recursive formula is not a union of single steps."""


class Compiler:
    """Writes SQL for one kind of caller. The text holds `CALLER` and `OBJECT` where the ids go."""

    def __init__(self, graph: Graph, codes: Codes) -> None:
        self.graph = graph
        self.codes = codes
        self._count = 0

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
                return self._direct(type_name, term, object_sql)
            case Hop():
                return self._hop(type_name, term, object_sql)
            case Every():
                return self._every(type_name, term, object_sql)
            case Call(node):
                return self.check(node, object_sql)
            case Not(part):
                return f"NOT ({self.term(type_name, part, object_sql)})"
            case Any(parts):
                return self._any(type_name, parts, object_sql)
            case All(parts):
                return self._join([self.term(type_name, part, object_sql) for part in parts], "AND", "TRUE")

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

    @staticmethod
    def _join(parts: list[str], operator: str, empty: str) -> str:
        if not parts:
            return empty
        # What may fail at the depth limit comes last: often the answer is known before.
        parts = sorted(parts, key=lambda part: DEPTH_MARK in part)
        return parts[0] if len(parts) == 1 else "(" + f" {operator} ".join(parts) + ")"

    def _any(self, type_name: str, parts: tuple[Term, ...], object_sql: str) -> str:
        """A disjunction in which all parts that end in one recursion share one walk.

        What a statement costs is mostly the start of its plan, node by node, whether it comes to run or not.
        """
        plain, starts = self._gather(type_name, parts, object_sql)
        for members in starts:
            walk = self._try_walk({node: f"ARRAY({' UNION ALL '.join(sql)})" for node, sql in members.items()})
            assert walk is not None
            plain.append(walk)
        return self._join(plain, "OR", "FALSE")

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
                if conditions:
                    plain.append(f"EXISTS (SELECT 1 {rows} AND {self._join(conditions, 'OR', 'FALSE')} OFFSET 0)")
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

    def _direct(self, type_name: str, direct: Direct, object_sql: str) -> str:
        alias = self.name("rd")
        subject_type, subject_id, subject_relation = self.caller_subject(direct.everyone)
        return (
            f"EXISTS (SELECT 1 FROM relationships {alias} WHERE {alias}.resource_type = {self.codes.types[type_name]}"
            f" AND {alias}.resource_id = {object_sql} AND {self.relation_is(f'{alias}.relation', direct.relations)}"
            f" AND {alias}.subject_type = {subject_type} AND {alias}.subject_id = {subject_id}"
            f" AND {alias}.subject_relation = {subject_relation}{self.alive(alias, direct.expiring)} OFFSET 0)"
        )

    def _hop(self, type_name: str, hop: Hop, object_sql: str) -> str:
        if self._walks(hop.target) or not self.graph.component(hop.target):
            return self._any(type_name, (hop,), object_sql)
        alias = self.name("rh")
        rows = self.rows_of(alias, type_name, hop, object_sql)
        return f"EXISTS (SELECT 1 {rows} AND {self.check(hop.target, f'{alias}.subject_id')} OFFSET 0)"

    def _every(self, type_name: str, every: Every, object_sql: str) -> str:
        return self._every_of(type_name, every, object_sql, self.check)

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

    def _recursive(self, node: Node, object_sql: str) -> str:
        walk = self._try_walk({node: f"ARRAY[{object_sql}]"})
        return walk if walk is not None else self._solve(node, object_sql)

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

    def _try_walk(self, starts: Mapping[Node, str]) -> str | None:
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
            hits += [self._direct(node.type, probe, f"ANY ({fresh})") for probe in probes]
            rest = [end for end in ends if not isinstance(end, Direct)]
            if rest:
                alias = self.name("u")
                base = self._any(node.type, tuple(rest), f"{alias}.id")
                hits.append(f"EXISTS (SELECT 1 FROM unnest({fresh}) {alias}(id) WHERE {base} OFFSET 0)")
        steps = [
            (node, product, nodes.index(product.step.target))
            for node in nodes
            for product in products[node]
            if product.step
        ]
        hit = self._join(hits, "OR", "FALSE")
        return (
            f"EXISTS ({self._levels(walk, nodes, starts, steps)} SELECT 1 FROM {walk} WHERE"
            f" CASE WHEN {too_deep_sql(walk, len(nodes))} THEN {depth_error(f'{walk}.n')} ELSE {hit} END OFFSET 0)"
        )

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

    def _solve(self, node: Node, object_sql: str) -> str:
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
                return self._join(inner, "OR", "FALSE")
            case All(parts):
                inner = [self._term_within(type_name, part, object_sql, solved) for part in parts]
                return self._join(inner, "AND", "TRUE")
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
