"""Compiles "which objects may the caller see" into SQL.

The permission is split into branches of the form "objects whose relation R points at S". The pairs (S, R), the
frontier, follow from the caller alone: his groups, the agents he owns, the tenants he administers. One LATERAL reads
each branch in id order from the index and stops at the page's size; merging the branches gives the page at a cost that
does not depend on how much the caller may see. What else the permission asks (the gate) is asked within the branch,
before its limit, so that no page is short.
"""

from __future__ import annotations

from dataclasses import dataclass

from remit.authz.compile import CALLER, Compiler, depth_error
from remit.authz.errors import DEPTH_LIMIT
from remit.authz.graph import All, Any, Call, Direct, Every, Hop, Node, Not, Same, Term


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


class ListCompiler:
    """Writes list SQL for one kind of caller, on top of the checks of a `Compiler`."""

    def __init__(self, compiler: Compiler) -> None:
        self._compiler = compiler
        self._graph = compiler.graph
        self._codes = compiler.codes
        self._reach: dict[Node, str] = {}
        self._with: list[str] = []

    def page(
        self, node: Node, *, cursor_sql: str | None, limit_sql: str, ascending: bool = False, row_filter: str = ""
    ) -> str:
        """A SELECT of one column `id`: the first ids, in order, on which the caller holds `node`.

        Args:
            node: the permission.
            cursor_sql: an expression for the id that the page starts after, None for the first page.
            limit_sql: an expression for the number of ids.
            ascending: order; newest first otherwise.
            row_filter: a further condition, with `@ROW@` where the id goes.
        """
        self._reach.clear()
        self._with.clear()
        compare, direction = (">", "ASC") if ascending else ("<", "DESC")
        groups: dict[tuple[Term, ...], list[Same | Direct | Hop]] = {}
        for branch in self.branches(node):
            leaf = branch.leaf
            assert not isinstance(leaf, Call)
            groups.setdefault(branch.conditions, []).append(leaf)
        selects = []
        for conditions, leaves in groups.items():
            relationship_leaves = [leaf for leaf in leaves if not isinstance(leaf, Same)]
            if len(relationship_leaves) < len(leaves):
                extra = f" AND {CALLER} {compare} {cursor_sql}" if cursor_sql else ""
                selects.append(
                    f"SELECT {CALLER} AS id WHERE TRUE{extra}{self._also(node, conditions, CALLER, row_filter)}"
                )
            if relationship_leaves:
                selects.append(
                    self._merge(
                        node, relationship_leaves, conditions, cursor_sql, compare, direction, limit_sql, row_filter
                    )
                )
        if not selects:
            # Nobody of this kind can hold it; the statement still names its parameters.
            cursor = f" AND NULL::uuid {compare} {cursor_sql}" if cursor_sql else ""
            nothing = self._also(node, (), "NULL::uuid", row_filter)
            return f"SELECT NULL::uuid AS id WHERE FALSE{cursor}{nothing} LIMIT {limit_sql}"
        prefix = f"WITH {', '.join(self._with)} " if self._with else ""
        union = " UNION ALL ".join(f"({select})" for select in selects)
        return f"{prefix}SELECT DISTINCT m.id FROM ({union}) m ORDER BY m.id {direction} LIMIT {limit_sql}"

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

    def _also(self, node: Node, conditions: tuple[Term, ...], id_sql: str, row_filter: str) -> str:
        asked = "".join(f" AND {self._condition(node.type, condition, id_sql)}" for condition in conditions)
        return row_filter.replace("@ROW@", id_sql) + asked

    def _condition(self, type_name: str, term: Term, id_sql: str) -> str:
        """What else is asked of a row. What an arrow leads to is found once, as a set, and not row by row."""
        match term:
            case Hop(target=target) if not self._graph.component(target):
                alias = self._compiler.name("rg")
                rows = self._compiler.rows_of(alias, type_name, term, id_sql)
                # IS TRUE keeps the planner from making a join of it, built anew for each row.
                held = f"({alias}.subject_id IN (SELECT id FROM {self._reach_of(target)})) IS TRUE"
                return f"EXISTS (SELECT 1 {rows} AND {held} OFFSET 0)"
            case Not(part):
                return f"NOT {self._condition(type_name, part, id_sql)}"
            case Any(parts) if parts:
                return "(" + " OR ".join(self._condition(type_name, part, id_sql) for part in parts) + ")"
            case All(parts):
                return "(" + " AND ".join(self._condition(type_name, part, id_sql) for part in parts) + ")"
        return f"({self._compiler.term(type_name, term, id_sql)})"

    def _merge(
        self,
        node: Node,
        leaves: list[Direct | Hop],
        conditions: tuple[Term, ...],
        cursor_sql: str | None,
        compare: str,
        direction: str,
        limit_sql: str,
        row_filter: str,
    ) -> str:
        frontier = self._compiler.name("frontier")
        rows = " UNION ".join(self._frontier_rows(leaf) for leaf in leaves)
        self._with.append(f"{frontier}(st, sid, sr, rel) AS MATERIALIZED ({rows})")
        alias = self._compiler.name("rb")
        cursor = f" AND {alias}.resource_id {compare} {cursor_sql}" if cursor_sql else ""
        expiring = any(leaf.expiring for leaf in leaves)
        return (
            f"SELECT b.id FROM {frontier} f CROSS JOIN LATERAL ("
            f"SELECT {alias}.resource_id AS id FROM relationships {alias}"
            f" WHERE {alias}.subject_type = f.st AND {alias}.subject_id = f.sid AND {alias}.subject_relation = f.sr"
            f" AND {alias}.resource_type = {self._codes.types[node.type]} AND {alias}.relation = f.rel{cursor}"
            f"{self._compiler.alive(alias, expiring)}{self._also(node, conditions, f'{alias}.resource_id', row_filter)}"
            f" ORDER BY {alias}.resource_id {direction} LIMIT {limit_sql}) b"
        )

    def _frontier_rows(self, leaf: Direct | Hop) -> str:
        relations = ",".join(str(self._codes.relations[relation]) for relation in leaf.relations)
        relation_rows = f"unnest('{{{relations}}}'::smallint[]) q(rel)"
        if isinstance(leaf, Direct):
            subject_type, subject_id, subject_relation = self._compiler.caller_subject(leaf.everyone)
            subject = f"{subject_type}::smallint, {subject_id}, {subject_relation}::smallint"
            return f"SELECT {subject}, q.rel FROM {relation_rows}"
        codes = ",".join(str(self._codes.relation(name)) for name in leaf.subject_relations)
        return (
            f"SELECT {self._codes.types[leaf.subject_type]}::smallint, h.id, p.sr, q.rel"
            f" FROM {self._reach_of(leaf.target)} h CROSS JOIN unnest('{{{codes}}}'::smallint[]) p(sr)"
            f" CROSS JOIN {relation_rows}"
        )

    def _reach_of(self, node: Node) -> str:
        """The name of a WITH query with the ids of all objects on which the caller holds a node."""
        if node not in self._reach:
            component = self._graph.component(node)
            if component:
                self._write_recursive_reach(sorted(component))
            else:
                arms = [self._reach_arm(node, branch, None) for branch in self.branches(node)]
                name = self._reach[node] = self._compiler.name("reach")
                body = " UNION ".join(arms) if arms else "SELECT NULL::uuid WHERE FALSE"
                self._with.append(f"{name}(id) AS MATERIALIZED ({body})")
        return self._reach[node]

    def _write_recursive_reach(self, nodes: list[Node]) -> None:
        """The walk up from the caller through nodes that are recursive together, level by level."""
        walk = self._compiler.name("up")
        first, following = [], []
        for index, node in enumerate(nodes):
            starts, steps = [], []
            for branch in self.branches(node):
                inside = isinstance(branch.leaf, Hop) and branch.leaf.target in nodes
                if inside:
                    assert isinstance(branch.leaf, Hop)
                    steps.append(self._reach_arm(node, branch, f"unnest({walk}.f{nodes.index(branch.leaf.target)})"))
                else:
                    starts.append(self._reach_arm(node, branch, None))
            first.append(f"ARRAY({' UNION '.join(starts)})" if starts else "'{}'::uuid[]")
            seen = f"SELECT unnest({walk}.s{index})"
            following.append(
                f"ARRAY(({' UNION '.join(steps)}) EXCEPT {seen}) AS f{index}"
                if steps
                else f"'{{}}'::uuid[] AS f{index}"
            )
        count = range(len(nodes))
        columns = ", ".join(f"f{index}, s{index}" for index in count)
        initial = ", ".join(f"b.a{index}, b.a{index}" for index in count)
        starts_sql = ", ".join(f"{sql} AS a{index}" for index, sql in enumerate(first))
        grown = ", ".join(f"y.f{index}, {walk}.s{index} || y.f{index}" for index in count)
        fresh = " + ".join(f"cardinality(y.f{index})" for index in count)
        self._with.append(
            f"{walk}(n, {columns}) AS (WITH RECURSIVE {walk}(n, {columns}) AS (SELECT 0, {initial}"
            f" FROM (SELECT {starts_sql} OFFSET 0) b UNION ALL SELECT {walk}.n + 1, {grown} FROM {walk}"
            f" CROSS JOIN LATERAL (SELECT {', '.join(following)} OFFSET 0) y"
            f" WHERE {walk}.n <= {DEPTH_LIMIT} AND {fresh} > 0)"
            f" SELECT * FROM {walk}"
            f" WHERE CASE WHEN {walk}.n > {DEPTH_LIMIT} THEN {depth_error(f'{walk}.n')} ELSE TRUE END)"
        )
        for index, node in enumerate(nodes):
            name = self._reach[node] = self._compiler.name("reach")
            self._with.append(f"{name}(id) AS MATERIALIZED (SELECT DISTINCT unnest({walk}.f{index}) FROM {walk})")

    def _reach_arm(self, node: Node, branch: Branch, sources_sql: str | None) -> str:
        """A SELECT of the objects that a branch leads to; `sources_sql` replaces what its hop starts from."""
        leaf, compiler = branch.leaf, self._compiler
        assert not isinstance(leaf, Call)
        if isinstance(leaf, Same):
            return f"SELECT {CALLER} WHERE TRUE{self._also(node, branch.conditions, CALLER, '')}"
        alias = compiler.name("rr")
        rows = (
            f"FROM relationships {alias} WHERE {alias}.resource_type = {self._codes.types[node.type]}"
            f" AND {compiler.relation_is(f'{alias}.relation', leaf.relations)}{compiler.alive(alias, leaf.expiring)}"
        )
        also = self._also(node, branch.conditions, f"{alias}.resource_id", "")
        if isinstance(leaf, Direct):
            subject_type, subject_id, subject_relation = compiler.caller_subject(leaf.everyone)
            return (
                f"SELECT {alias}.resource_id {rows} AND {alias}.subject_type = {subject_type}"
                f" AND {alias}.subject_id = {subject_id} AND {alias}.subject_relation = {subject_relation}{also}"
            )
        source = compiler.name("h")
        codes = ",".join(str(self._codes.relation(name)) for name in leaf.subject_relations)
        return (
            f"SELECT {alias}.resource_id FROM {sources_sql or self._reach_of(leaf.target)} {source}(id)"
            f" CROSS JOIN LATERAL (SELECT {alias}.resource_id {rows} AND {alias}.subject_type ="
            f" {self._codes.types[leaf.subject_type]} AND {alias}.subject_id = {source}.id"
            f" AND {alias}.subject_relation = ANY ('{{{codes}}}'::smallint[]){also} OFFSET 0) {alias}"
        )
