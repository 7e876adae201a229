"""Compiles "which objects may the caller see" into SQL.

The permission is split into branches of the form "objects whose relation R points at S". The pairs (S, R), the
frontier, follow from the caller alone: his groups, the agents he owns, the tenants he administers. One LATERAL reads
each branch in id order from the index and stops at the page's size; merging the branches gives the newest ids at a cost
that does not depend on how much the caller may see. What else the permission asks (the gate), and the rows' own
conditions, are asked late: of the merged ids alone. Where some fail and the page would come out short, the one who runs
the statement goes on below the last id with a longer window (`pages.py`); nothing is left out, since every branch that
was cut lies below that id.

There are five sources of ids, for callers of different kinds:

- merge: as above, for a frontier of at most `WIDEST` subjects. Whoever has more is told by the column `wide`.
- few: all ids of the frontier, found with one index scan for many subjects; wide when there are more than `FEW`.
- heads: the newest id of each branch first, then the branches that reach into the window.
- scan: the rows of the table themselves, held against the caller's sets; wide when those are too large.
- checks: the rows of the table, each asked with a check, which needs nothing found before.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from remit.authz.compile import Compiler
from remit.authz.formula import Call, Direct, Hop, Node, Same, Term
from remit.authz.reach import WIDEST, CallerSets
from remit.authz.relationship_sql import CALLER

CURSOR: Final = "@CURSOR@"
WINDOW: Final = "@WINDOW@"
NARROW: Final = "@NARROW@"
FEW: Final = 2000


class Form(StrEnum):
    """Where a list's ids come from."""

    MERGE = "merge"
    FEW = "few"
    HEADS = "heads"
    SCAN = "scan"
    CHECKS = "checks"


@dataclass(frozen=True, slots=True)
class Order:
    """In which order ids come, and from where on.

    Attributes:
        cursor: whether the page starts after an id.
        ascending: newest first otherwise.
    """

    cursor: bool
    ascending: bool = False

    @property
    def direction(self) -> str:
        """For `ORDER BY`."""
        return "ASC" if self.ascending else "DESC"

    def after(self, id_sql: str) -> str:
        """The condition that an id comes after the cursor, with `AND` before it."""
        return f" AND {id_sql} {'>' if self.ascending else '<'} {CURSOR}" if self.cursor else ""


@dataclass(frozen=True, slots=True)
class Source:
    """SQL for the newest ids on which a permission may hold.

    Attributes:
        with_sql: the `WITH …` in front of the statement, or nothing.
        wide_sql: a boolean: the caller has too much for this form, and no id is given.
        ids_sql: a SELECT of `id`, at most `WINDOW` of them after `CURSOR`, in order; `NARROW` is a condition to put in.
        late_sql: what must hold on an id, with `@ID@` for it, and `p` for the row of `ids_sql`.
    """

    with_sql: str
    wide_sql: str
    ids_sql: str
    late_sql: str


_Leaf = tuple[Direct | Hop, int]
"""What a branch follows, and the number of its conditions."""


class ListCompiler(CallerSets):
    """Writes the source of ids of one statement.

    Args:
        compiler: of checks.
        widest: as for `CallerSets`.
        few: the most ids that are all read.
        gathered: as for `CallerSets`.
    """

    def __init__(
        self, compiler: Compiler, widest: int | None = WIDEST, few: int = FEW, gathered: int | None = None
    ) -> None:
        super().__init__(compiler, widest, gathered=gathered)
        self._limit_of_few = few

    def source(self, form: Form, node: Node, order: Order) -> Source:
        """The ids of one form (not of a scan or of checks, which need a table)."""
        groups: dict[tuple[Term, ...], list[Same | Direct | Hop]] = {}
        for branch in self.branches(node):
            assert not isinstance(branch.leaf, Call)
            groups.setdefault(branch.conditions, []).append(branch.leaf)
        if not groups:
            # Nobody of this kind can hold it; the statement still names its parameters.
            return Source("", "FALSE", f"SELECT {CALLER} AS id WHERE FALSE{order.after(CALLER)} LIMIT {WINDOW}", "TRUE")
        leaves = [(leaf, number) for number, leaves in enumerate(groups.values()) for leaf in leaves]
        found = self._arms(form, node, leaves, order)
        late = self._late(node, list(groups))
        grouped = len(groups) > 1
        columns = "m.id, array_agg(DISTINCT m.g) AS gs" if grouped else "DISTINCT m.id"
        ids = (
            f"SELECT {columns} FROM ({found}) m WHERE {NARROW}"
            f"{' GROUP BY m.id' if grouped else ''} ORDER BY m.id {order.direction} LIMIT {WINDOW}"
        )
        return Source(self.with_sql, self.wide_sql, ids, late)

    def _late(self, node: Node, groups: list[tuple[Term, ...]]) -> str:
        """What the merged ids are asked, by the conditions of the branches that found them."""
        asked = [
            " AND ".join(self.condition(node.type, condition, "@ID@") for condition in conditions) or "TRUE"
            for conditions in groups
        ]
        if len(asked) == 1:
            return asked[0]
        return "(" + " OR ".join(f"({number} = ANY (p.gs) AND {sql})" for number, sql in enumerate(asked)) + ")"

    def _arms(self, form: Form, node: Node, leaves: list[tuple[Same | Direct | Hop, int]], order: Order) -> str:
        """SELECTs of (id, number of the conditions), joined by UNION ALL."""
        arms = []
        for leaf, number in leaves:
            if isinstance(leaf, Same):
                arms.append(f"SELECT {CALLER} AS id, {number} AS g WHERE TRUE{order.after(CALLER)}")
        related = [(leaf, number) for leaf, number in leaves if not isinstance(leaf, Same)]
        if related:
            write = {Form.MERGE: self._merge, Form.FEW: self._few, Form.HEADS: self._heads}[form]
            arms.append(write(node, related, order))
        return " UNION ALL ".join(arms)

    def _merge(self, node: Node, leaves: list[_Leaf], order: Order) -> str:
        frontier = self._frontier(leaves)
        return (
            f"SELECT b.id, f.g FROM {frontier} f CROSS JOIN LATERAL ("
            f"{self._branch(node, leaves, order)}) b WHERE {NARROW}"
        )

    def _branch(self, node: Node, leaves: list[_Leaf], order: Order) -> str:
        """The newest ids of the branch `f`."""
        alias = self._compiler.name("rb")
        expiring = any(leaf.expiring for leaf, _ in leaves)
        return (
            f"SELECT {alias}.resource_id AS id FROM relationships {alias}"
            f" WHERE {alias}.subject_type = f.st AND {alias}.subject_id = f.sid AND {alias}.subject_relation = f.sr"
            f" AND {alias}.resource_type = {self._codes.types[node.type]} AND {alias}.relation = f.rel"
            f"{order.after(f'{alias}.resource_id')}{self._compiler.alive(alias, expiring)}"
            f" ORDER BY {alias}.resource_id {order.direction} LIMIT {WINDOW}"
        )

    def _heads(self, node: Node, leaves: list[_Leaf], order: Order) -> str:
        """The branches whose newest id is among the newest distinct ones; the others lie below the window."""
        frontier = self._frontier(leaves)
        heads = self._compiler.name("heads")
        branch = self._branch(node, leaves, order)
        self._with.append(
            f"{heads} AS MATERIALIZED (SELECT f.*, dense_rank() OVER (ORDER BY h.id {order.direction}) AS place"
            f" FROM {frontier} f CROSS JOIN LATERAL ({branch.replace(f'LIMIT {WINDOW}', 'LIMIT 1')}) h)"
        )
        return f"SELECT b.id, f.g FROM {heads} f CROSS JOIN LATERAL ({branch}) b WHERE f.place <= {WINDOW}"

    def _few(self, node: Node, leaves: list[_Leaf], order: Order) -> str:
        compiler, arms = self._compiler, []
        for leaf, number in leaves:
            alias = compiler.name("rb")
            arms.append(
                f"SELECT {alias}.resource_id AS id, {number} AS g {self.rows_at(alias, leaf)}"
                f" AND {alias}.resource_type = {self._codes.types[node.type]}"
                f" AND {compiler.relation_is(f'{alias}.relation', leaf.relations)}"
                f"{order.after(f'{alias}.resource_id')}{compiler.alive(alias, leaf.expiring)}"
            )
        few = compiler.name("few")
        limit = f"LIMIT {self._limit_of_few + 1}"
        self._with.append(f"{few} AS MATERIALIZED (SELECT a.id, a.g FROM ({' UNION ALL '.join(arms)}) a {limit})")
        self._wide.append(f"(SELECT count(*) > {self._limit_of_few} FROM {few})")
        return f"SELECT {few}.id, {few}.g FROM {few}"

    def _frontier(self, leaves: list[_Leaf]) -> str:
        """A WITH query of (st, sid, sr, rel, g): which subjects in which relation, under which conditions."""
        name = self._compiler.name("frontier")
        rows = " UNION ALL ".join(self._frontier_rows(leaf, number) for leaf, number in leaves)
        limit = "" if self._widest is None else f" LIMIT {self._widest + 1}"
        columns = "(st, sid, sr, rel, g)"
        self._with.append(f"{name}{columns} AS MATERIALIZED (SELECT DISTINCT * FROM ({rows}{limit}) r{columns})")
        if self._widest is not None:
            self._wide.append(f"(SELECT count(*) > {self._widest} FROM {name})")
        return name

    def _frontier_rows(self, leaf: Direct | Hop, number: int) -> str:
        relations = [self._codes.relations[relation] for relation in leaf.relations]
        relation, source = f"{relations[0]}::smallint", ""
        if len(relations) > 1:
            relation, source = "q.rel", f"unnest('{{{','.join(map(str, relations))}}}'::smallint[]) q(rel)"
        if isinstance(leaf, Direct):
            subject_type, subject_id, subject_relation = self._compiler.caller_subject(leaf.everyone)
            subject = f"{subject_type}::smallint, {subject_id}, {subject_relation}::smallint"
            return f"SELECT {subject}, {relation}, {number}{f' FROM {source}' if source else ''}"
        codes = [self._codes.relation(name) for name in leaf.subject_relations]
        held_as, further = f"{codes[0]}::smallint", ""
        if len(codes) > 1:
            further = f" CROSS JOIN unnest('{{{','.join(map(str, codes))}}}'::smallint[]) p(sr)"
            held_as = "p.sr"
        return (
            f"SELECT {self._codes.types[leaf.subject_type]}::smallint, h.id, {held_as}, {relation}, {number}"
            f" FROM unnest({self.reach_of(leaf.target)}) h(id){further}{f' CROSS JOIN {source}' if source else ''}"
        )
