"""Runs lists: which form a caller's list has, how its pages are filled, and what happens when that takes too long.

Each statement gives a window of ids in order, and for each whether it counts. A page that is not full yet goes on below
the last id of the window, in the same form or in another one: whatever lies above that id is settled. So a short page
is always the end of the list, unless the time was up, and then it says so.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import asyncpg

from remit.authz.compile import Compiler
from remit.authz.engine import Connection, RowPage
from remit.authz.errors import ListTooCostly, translate_database_errors
from remit.authz.formula import Node
from remit.authz.lists import CURSOR, FEW, NARROW, WINDOW, Form, ListCompiler, Order, Source
from remit.authz.reach import LARGEST_SET, WIDEST, CallerSets
from remit.authz.relationship_sql import CALLER

LIMIT: Final = "@LIMIT@"
LIST_SECONDS: Final = 2.0
ROWS: Final = (Form.SCAN, Form.CHECKS)
_LARGEST_WINDOW: Final = 2 * FEW
_MOST_GATHERED: Final = 2 * FEW
_MOST_KEPT: Final = 10_000
# Statements are long, and there are as many as ways to combine a list's filters.
_MOST_TEXTS: Final = 500
_HINT_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Listing:
    """What is listed.

    Attributes:
        node: the permission.
        subject_type: the kind of caller.
        subject_relation: the relation, when the caller is a set.
        columns: the select list, over `t`, or over `p.id` where there is no table.
        table: the table of the rows, None for ids alone.
        where: the noun's conditions over `t`.
        joins: what else the select list needs.
        ascending: order; newest first otherwise.
    """

    node: Node
    subject_type: str
    subject_relation: str | None
    columns: str
    table: str | None = None
    where: str = "TRUE"
    joins: str = ""
    ascending: bool = False


@dataclass(slots=True)
class Lister:
    """Runs the lists of one schema version, and remembers what suited whom: a matter of cost, never of the answer.

    Attributes:
        compiler_for: makes the compiler for a kind of caller.
        widest: the most subjects of a caller whose list is merged.
        few: the most ids that are all read.
        groups: the most groups of a caller that rows are scanned with.
        scan: rows of the largest window of a scan; where that does not fill a page, the heads are asked.
        seconds: how long a list may take.
        now: the clock, in seconds.
    """

    compiler_for: Callable[[str, str | None], Compiler]
    widest: int = WIDEST
    few: int = FEW
    groups: int = WIDEST
    scan: int = 300
    seconds: float = LIST_SECONDS
    now: Callable[[], float] = time.monotonic
    _texts: dict[tuple[Form, Listing, bool, int], tuple[str, tuple[str, ...]]] = field(default_factory=dict)
    _sparse: OrderedDict[Listing, None] = field(default_factory=OrderedDict)
    _forms: OrderedDict[tuple[str, Node], tuple[Form, float]] = field(default_factory=OrderedDict)

    async def fetch(
        self,
        connection: Connection,
        listing: Listing,
        values: list[object],
        caller: object,
        *,
        after: object,
        limit: int,
    ) -> RowPage:
        """The first rows after an id.

        Args:
            connection: where to ask.
            listing: what.
            values: the parameters of its conditions.
            caller: the stored form of the caller's id.
            after: the stored form of the id that the page starts after, None for the first page.
            limit: most rows.

        Raises:
            ListTooCostly: nothing was settled in time.
            DepthExceeded: the graph is nested too deep to answer.
        """
        key, start, until = (str(caller), listing.node), after, self.now() + self.seconds
        form, only_rows = self._form_for(key, listing), False
        window = self._first_window(form, listing, limit)
        rows: list[asyncpg.Record] = []
        while (left := until - self.now()) > 0:
            # Sets that take too long to find must leave time for the scan, which needs none.
            patience = left if form is Form.CHECKS or listing.table is None else left - self.seconds / 2
            try:
                found, wide = await self._run(
                    connection, form, listing, values, caller, after, (window, limit - len(rows)), patience
                )
            except TimeoutError:
                if form is Form.CHECKS or listing.table is None:
                    break
                form, window, only_rows = Form.CHECKS, limit, True
                continue
            if wide:
                form = self._wider(form, listing)
                window = self._first_window(form, listing, limit)
                continue
            rows += [row for row in found if row["list_ok"]]
            if len(rows) == limit or not found or found[-1]["list_n"] < window:
                self._note_form(key, form)
                return RowPage(rows, None)
            after = found[-1]["list_id"]
            self._note_sparse(listing)
            if form in ROWS and window >= self.scan and not only_rows:
                form, window = Form.HEADS, limit
            else:
                window = self._next_window(form, window, limit)
        if listing.table is None or after == start:
            raise ListTooCostly(self.seconds)
        return RowPage(rows, str(after))

    def source(self, form: Form, listing: Listing, *, cursor: bool) -> Source:
        """The SQL of one form."""
        compiler, order = (
            self.compiler_for(listing.subject_type, listing.subject_relation),
            Order(cursor, listing.ascending),
        )
        if form not in ROWS:
            lists = ListCompiler(
                compiler,
                self.widest if form is Form.MERGE else None,
                self.few,
                _MOST_GATHERED if form is Form.FEW else None,
            )
            return lists.source(form, listing.node, order)
        rows = f"FROM {listing.table} t WHERE ({listing.where}){order.after('t.id')}"
        ids = f"SELECT t.* {rows} ORDER BY t.id {order.direction} LIMIT {WINDOW}"
        if form is Form.CHECKS:
            return Source("", "FALSE", ids, compiler.check(listing.node, "@ID@"))
        sets, node = CallerSets(compiler, self.groups, LARGEST_SET), listing.node
        held = sets.condition(node.type, compiler.graph.expand(node), "@ID@")
        return Source(sets.with_sql, sets.wide_sql, ids, held)

    def statement(self, form: Form, listing: Listing, *, cursor: bool) -> str:
        """The whole statement of one form, with marks for caller, cursor and window."""
        source = self.source(form, listing, cursor=cursor)
        order = "" if listing.ascending else " DESC"
        if form in ROWS:
            late = source.late_sql.replace("@ID@", "p.id")
            alias, columns, counts = "t", "p.*", "l.counts"
            asked = f"CROSS JOIN LATERAL (SELECT {late} AS counts OFFSET 0) l"
        elif listing.table is None:
            late = source.late_sql.replace("@ID@", "p.id")
            alias, columns, counts = "p", "p.id", "l.counts"
            asked = f"CROSS JOIN LATERAL (SELECT {late} AS counts OFFSET 0) l"
        else:
            # Asked of the row and not of the id, or it would come before the row's own, cheaper conditions.
            late = source.late_sql.replace("@ID@", "t.id")
            alias, columns, counts = "t", "t.*", "t.id IS NOT NULL"
            asked = (
                f"LEFT JOIN LATERAL (SELECT t.* FROM {listing.table} t WHERE t.id = p.id AND ({listing.where})"
                f" AND {late} OFFSET 0) t ON TRUE"
            )
        ids = source.ids_sql.replace(NARROW, "NOT s.wide")
        # The last id of the window comes along even when it does not count: there the next window begins.
        return (
            f"{source.with_sql} SELECT {listing.columns}, {alias}.list_id, {alias}.list_ok, {alias}.list_n,"
            f" s.wide AS list_wide FROM (SELECT {source.wide_sql} AS wide OFFSET 0) s LEFT JOIN LATERAL ("
            f"SELECT {columns}, p.id AS list_id, {counts} AS list_ok, p.list_ids AS list_n FROM (SELECT i.*,"
            f" row_number() OVER () AS list_place, count(*) OVER () AS list_ids FROM ({ids}) i"
            # Said once more, the planner knows that the order lasts, and stops where the page is full.
            f" ORDER BY i.id{order}) p {asked}"
            f" WHERE {counts} OR p.list_place = p.list_ids ORDER BY p.id{order} LIMIT {LIMIT}) {alias} ON TRUE"
            f"{listing.joins} ORDER BY {alias}.list_id{order}"
        )

    async def _run(
        self,
        connection: Connection,
        form: Form,
        listing: Listing,
        values: list[object],
        caller: object,
        after: object,
        size: tuple[int, int],
        patience: float,
    ) -> tuple[list[asyncpg.Record], bool]:
        """The ids of one window, and whether the caller has too much for this form."""
        key = (form, listing, after is not None, len(values))
        text = self._texts.get(key)
        if text is None:
            sql, used = self.statement(form, listing, cursor=after is not None), []
            for mark, cast in ((CALLER, "uuid"), (WINDOW, "int"), (LIMIT, "int"), (CURSOR, "uuid")):
                if mark in sql:
                    used.append(mark)
                    sql = sql.replace(mark, f"${len(values) + len(used)}::{cast}")
            if len(self._texts) >= _MOST_TEXTS:
                self._texts.clear()
            text = self._texts[key] = (sql, tuple(used))
        own = {CALLER: caller, WINDOW: size[0], LIMIT: size[1], CURSOR: after}
        with translate_database_errors():
            async with _undoable(connection):
                found = await connection.fetch(
                    text[0], *values, *(own[mark] for mark in text[1]), timeout=max(patience, 0.001)
                )
        return [row for row in found if row["list_id"] is not None], found[0]["list_wide"]

    def _form_for(self, key: tuple[str, Node], listing: Listing) -> Form:
        form, known_until = self._forms.get(key, (Form.MERGE, 0.0))
        if known_until < self.now() or (form in ROWS and listing.table is None):
            return Form.MERGE
        return form

    @staticmethod
    def _wider(form: Form, listing: Listing) -> Form:
        if form is Form.MERGE:
            return Form.FEW
        if listing.table is None:
            return Form.HEADS
        return Form.CHECKS if form is Form.SCAN else Form.SCAN

    def _note_form(self, key: tuple[str, Node], form: Form) -> None:
        if form is Form.MERGE:
            self._forms.pop(key, None)
        elif key not in self._forms or self._forms[key][0] is not form or self._forms[key][1] < self.now():
            self._forms[key] = (form, self.now() + _HINT_SECONDS)
            if len(self._forms) > _MOST_KEPT:
                self._forms.popitem(last=False)

    def _first_window(self, form: Form, listing: Listing, limit: int) -> int:
        """How many ids are looked at first: more where the rows' conditions are known to leave out many."""
        if form is Form.FEW:
            return max(self.few, limit)
        return limit * 4 if form not in ROWS and listing in self._sparse else limit

    def _note_sparse(self, listing: Listing) -> None:
        self._sparse[listing] = None
        if len(self._sparse) > _MOST_TEXTS:
            self._sparse.popitem(last=False)

    def _next_window(self, form: Form, window: int, limit: int) -> int:
        return max(self.scan, limit) if form in ROWS else min(window * 4, max(_LARGEST_WINDOW, limit))


@asynccontextmanager
async def _undoable(connection: Connection) -> AsyncIterator[None]:
    """A savepoint where there is a transaction, which a statement that runs out of time would end."""
    if connection.is_in_transaction():
        async with connection.transaction():
            yield
    else:
        yield
