"""The sets of a caller: the groups that hold him, the agents he owns, the tenants he administers.

Each set is one row with an array, found from the caller upwards, in a WITH query of its own. Where a set may have only
so many members, one member more is found, and `wide` says so: then the set is not the whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from remit.authz.compile import Compiler
from remit.authz.errors import DEPTH_LIMIT
from remit.authz.formula import All, Any, Call, Direct, Every, Hop, Node, Not, Same, Term, cost
from remit.authz.implied import free_implied
from remit.authz.relationship_sql import CALLER
from remit.authz.walks import any_fresh_sql, depth_error, fresh_sql, too_deep_sql

WIDEST: Final = 64
LARGEST_SET: Final = 2000


@dataclass(frozen=True, slots=True)
class Branch:
    """Objects that one kind of relationship leads to, and what else must hold on each of them."""

    leaf: Same | Direct | Hop | Call
    conditions: tuple[Term, ...]


def split_branches(term: Term, type_name: str) -> list[Branch]:
    """Cover a formula by branches: every object on which it holds is found by at least one of them."""
    match term:
        case Same() | Direct() | Hop() | Call():
            return [Branch(term, ())]
        case Every(relation, targets, expiring):
            return [
                Branch(Hop((relation,), kind, subject_relations, True, target, expiring), (term,))
                for kind, subject_relations, target in targets
            ]
        case Any(parts):
            return [branch for part in parts for branch in split_branches(part, type_name)]
        case All(parts):
            positive = [part for part in parts if not isinstance(part, Not)]
            if not positive:
                return []
            lead = min(positive, key=_breadth)
            rest = tuple(part for part in parts if part is not lead)
            return [Branch(branch.leaf, (*branch.conditions, *rest)) for branch in split_branches(lead, type_name)]
        case Not():
            raise AssertionError("an exclusion is never the first part of a formula")


def _breadth(term: Term) -> int:
    """How many objects a part may lead to, roughly: a part with direct grants is narrower than one of arrows alone."""
    match term:
        case Same():
            return 0
        case Direct(everyone=everyone):
            return 2 if everyone else 1
        case Hop(any_subject_relation=arrow):
            return 3 if arrow else 1
        case Any(parts):
            return min((_breadth(part) for part in parts), default=0)
        case All(parts):
            return min((_breadth(part) for part in parts if not isinstance(part, Not)), default=0)
    return 4


class CallerSets:
    """Writes the WITH queries of a statement, and conditions that ask them.

    Args:
        compiler: of checks.
        widest: the most groups, and the most subjects of a merge, before the caller counts as wide; None for any.
        largest: the same for what is found from those groups; by default as `widest`.
        gathered: the most relationships of a caller's groups that are read at once, for all the sets that they lead
            to; None reads the relationships of each set by themselves, which is cheaper for few groups.
    """

    def __init__(
        self,
        compiler: Compiler,
        widest: int | None = WIDEST,
        largest: int | None = None,
        gathered: int | None = None,
    ) -> None:
        self._compiler = compiler
        self._graph = compiler.graph
        self._codes = compiler.codes
        self._widest = widest
        self._largest = widest if largest is None else largest
        self._most_gathered = gathered
        self._gathered: dict[tuple[Node, str], str] = {}
        self._reach: dict[Node, str] = {}
        self._writing: set[Node] = set()
        self._with: list[str] = []
        self._wide: list[str] = []

    @property
    def with_sql(self) -> str:
        """The `WITH …` of what was asked for so far, or nothing."""
        return f"WITH {', '.join(self._with)}" if self._with else ""

    @property
    def wide_sql(self) -> str:
        """Whether one of the sets is not the whole."""
        return " OR ".join(self._wide) or "FALSE"

    def branches(self, node: Node) -> list[Branch]:
        """The branches of a node, with calls into recursive permissions of the same object written out as well."""
        found = []
        waiting = split_branches(self._graph.expand(node), node.type)
        seen: set[tuple[Node, tuple[Term, ...]]] = set()
        while waiting:
            branch = waiting.pop(0)
            if isinstance(branch.leaf, Call):
                key = (branch.leaf.node, branch.conditions)
                if key not in seen:
                    seen.add(key)
                    waiting += [
                        Branch(inner.leaf, (*inner.conditions, *branch.conditions))
                        for inner in split_branches(self._graph.expand(branch.leaf.node), node.type)
                    ]
            elif branch not in found:
                found.append(branch)
        return found

    def condition(self, type_name: str, term: Term, id_sql: str) -> str:
        """What else is asked of a row. What a relationship leads to is found once, as a set, and not row by row."""
        match term:
            case Hop(target=target) if self._is_set(target):
                alias = self._compiler.name("rg")
                rows = self._compiler.rows_of(alias, type_name, term, id_sql)
                ids = self.reach_of(target)
                held = f"{alias}.subject_id = ANY ({ids})"
                if self._largest is None or self._largest > WIDEST:
                    # IS TRUE keeps the planner from making a join of it, built anew for each row.
                    held = f"({alias}.subject_id IN (SELECT unnest({ids}))) IS TRUE"
                return f"EXISTS (SELECT 1 {rows} AND {held} OFFSET 0)"
            case Not(part):
                return f"NOT {self.condition(type_name, part, id_sql)}"
            case All() if (freed := free_implied(self._graph, term)) is not term:
                return self.condition(type_name, freed, id_sql)
            case Any(parts) | All(parts) if parts:
                ordered = sorted(parts, key=lambda part: cost(part, self._is_set))
                inner = [self.condition(type_name, part, id_sql) for part in ordered]
                return "(" + (" OR " if isinstance(term, Any) else " AND ").join(inner) + ")"
        return f"({self._compiler.term(type_name, term, id_sql)})"

    def rows_at(self, alias: str, leaf: Direct | Hop) -> str:
        """FROM and WHERE of the relationships that point at one of a leaf's subjects."""
        if self._most_gathered is not None and isinstance(leaf, Hop) and not leaf.any_subject_relation:
            name = leaf.subject_relations[0]
            if name is not None and self._graph.component(leaf.target) and leaf.target not in self._writing:
                return f"FROM {self._gather(leaf)} {alias} WHERE TRUE"
        return f"FROM relationships {alias} WHERE {self._subject_is(alias, leaf)}"

    def _gather(self, leaf: Hop) -> str:
        """A WITH query of all relationships that point at the sets of a walk, read by one scan."""
        assert self._most_gathered is not None
        key = (leaf.target, str(leaf.subject_relations[0]))
        if key not in self._gathered:
            alias, limit = self._compiler.name("rr"), self._most_gathered
            subject = self._subject_is(alias, leaf)
            name = self._gathered[key] = self._compiler.name("gathered")
            columns = "resource_type, relation, resource_id, expires_at"
            self._with.append(
                f"{name} AS MATERIALIZED (SELECT {columns} FROM relationships {alias} WHERE {subject}"
                f" LIMIT {limit + 1})"
            )
            self._wide.append(f"(SELECT count(*) > {limit} FROM {name})")
        return self._gathered[key]

    def _subject_is(self, alias: str, leaf: Direct | Hop) -> str:
        """The condition that a relationship points at one of a leaf's subjects."""
        if isinstance(leaf, Direct):
            subject_type, subject_id, subject_relation = self._compiler.caller_subject(leaf.everyone)
            return (
                f"{alias}.subject_type = {subject_type} AND {alias}.subject_id = {subject_id}"
                f" AND {alias}.subject_relation = {subject_relation}"
            )
        return self._points_at(alias, leaf, f"ANY ({self.reach_of(leaf.target)})")

    def _points_at(self, alias: str, hop: Hop, ids_sql: str) -> str:
        codes = [self._codes.relation(name) for name in hop.subject_relations]
        relation = f"= {codes[0]}" if len(codes) == 1 else f"= ANY ('{{{','.join(map(str, codes))}}}'::smallint[])"
        return (
            f"{alias}.subject_type = {self._codes.types[hop.subject_type]} AND {alias}.subject_id = {ids_sql}"
            f" AND {alias}.subject_relation {relation}"
        )

    def _is_set(self, node: Node) -> bool:
        """Whether all objects of a node can be found from the caller without asking them back."""
        if node in self._writing:
            return False
        return not self._graph.component(node) or self._compiler.linear_products(node) is not None

    def reach_of(self, node: Node) -> str:
        """An expression for the array of all objects on which the caller holds a node."""
        if node not in self._reach:
            component = self._graph.component(node)
            if component:
                self._write_recursive_reach(sorted(component))
            else:
                arms = self._reach_arms(node, self.branches(node), None)
                name = self._compiler.name("reach")
                self._reach[node] = f"(SELECT {name}.ids FROM {name})::uuid[]"
                union = " UNION ALL ".join(arms) or "SELECT NULL::uuid WHERE FALSE"
                limit = "" if self._largest is None else f" LIMIT {self._largest + 1}"
                self._with.append(f"{name}(ids) AS MATERIALIZED (SELECT ARRAY({union}{limit}))")
                if self._largest is not None:
                    self._wide.append(f"(SELECT cardinality({name}.ids) > {self._largest} FROM {name})")
        return self._reach[node]

    def _limit(self) -> str:
        return "" if self._widest is None else f" LIMIT {self._widest + 1}"

    def _write_recursive_reach(self, nodes: list[Node]) -> None:
        """The walk up from the caller through nodes that are recursive together, as `Compiler` walks down."""
        walk, count = self._compiler.name("up"), len(nodes)
        self._writing.update(nodes)
        first, following, columns = [], [], []
        for index, node in enumerate(nodes):
            starts, steps = [], []
            for branch in self.branches(node):
                if isinstance(branch.leaf, Hop) and branch.leaf.target in nodes:
                    fresh = fresh_sql(walk, nodes.index(branch.leaf.target))
                    steps += self._reach_arms(node, [branch], fresh)
                else:
                    starts += self._reach_arms(node, [branch], None)
            columns += [f"l{index}", f"s{index}"]
            first += ["0", f"ARRAY({' UNION '.join(starts)}{self._limit()})" if starts else "'{}'::uuid[]"]
            grown = f"{walk}.s{index}"
            if steps:
                seen = f"SELECT unnest({walk}.s{index})"
                grown += f" || ARRAY(({' UNION '.join(steps)}) EXCEPT {seen}{self._limit()})"
            following += [f"cardinality({walk}.s{index})", grown]
        self._writing.difference_update(nodes)
        small = "".join(f" AND cardinality({walk}.s{index}) <= {self._widest}" for index in range(count))
        self._with.append(
            f"{walk}(n, {', '.join(columns)}) AS MATERIALIZED (WITH RECURSIVE {walk}(n, {', '.join(columns)}) AS ("
            f"SELECT 0, {', '.join(first)} UNION ALL SELECT {walk}.n + 1, {', '.join(following)} FROM {walk}"
            f" WHERE {any_fresh_sql(walk, count)} AND {walk}.n <= {DEPTH_LIMIT}{small if self._widest else ''})"
            f" SELECT * FROM {walk} ORDER BY {walk}.n DESC LIMIT 1)"
        )
        if self._widest is None:
            fine = f"CASE WHEN {too_deep_sql(walk, count)} THEN {depth_error(f'{walk}.n')} ELSE TRUE END"
        else:
            fine = "TRUE"
            large = " OR ".join(f"cardinality({walk}.s{index}) > {self._widest}" for index in range(count))
            # Groups nested too deep are left to the forms that know whether that matters.
            self._wide.append(f"(SELECT {large} OR {walk}.n > {DEPTH_LIMIT} FROM {walk})")
        for index, node in enumerate(nodes):
            self._reach[node] = f"(SELECT {walk}.s{index} FROM {walk} WHERE {fine})::uuid[]"

    def _reach_arms(self, node: Node, branches: list[Branch], fresh: str | None) -> list[str]:
        """SELECTs of the objects that branches lead to; `fresh` replaces what a hop starts from."""
        arms, compiler = [], self._compiler
        for branch in branches:
            leaf = branch.leaf
            assert not isinstance(leaf, Call)
            if isinstance(leaf, Same):
                asked = "".join(f" AND {self.condition(node.type, item, CALLER)}" for item in branch.conditions)
                arms.append(f"SELECT {CALLER} WHERE TRUE{asked}")
                continue
            alias = compiler.name("rr")
            if fresh is not None and isinstance(leaf, Hop):
                rows = f"FROM relationships {alias} WHERE {self._points_at(alias, leaf, f'ANY ({fresh})')}"
            else:
                rows = self.rows_at(alias, leaf)
            asked = "".join(
                f" AND {self.condition(node.type, item, f'{alias}.resource_id')}" for item in branch.conditions
            )
            arms.append(
                f"SELECT {alias}.resource_id {rows}"
                f" AND {alias}.resource_type = {self._codes.types[node.type]}"
                f" AND {compiler.relation_is(f'{alias}.relation', leaf.relations)}"
                f"{compiler.alive(alias, leaf.expiring)}{asked}"
            )
        return arms
