"""Lists of what a caller may read, newest first.

Where relationships are in this database a list is one statement. For an engine elsewhere there are two ways: rows in
order, a page of candidates at a time, each page asked in one call; or the engine's own list of what the caller may
read, from which the rows are taken. The first costs by what he may not read, the second by what he may. A list begins
the first way and takes the other once that is the cheaper one.

No list is silently short. Past its budget one that was asked for by cursor ends early and says where it goes on; any
other is refused, since a short page would be taken for the end.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from remit.authz.caller import Caller
from remit.authz.decide import BATCH, MOST_CANDIDATES, Part
from remit.authz.elsewhere import Elsewhere
from remit.authz.engine import RowPage
from remit.authz.errors import ListTooCostly, translate_database_errors
from remit.authz.guard import ResourceKind
from remit.authz.model import Resource
from remit.authz.overlay import pending_sql, tokens_sql
from remit.authz.remote import ResourcePage
from remit.db.params import Params
from remit.errors import TooCostly
from remit.ids import LAST_ID
from remit.paging import Page, is_id

# Ids that are read of the engine's own list at most, and the time that a list may take.
MOST_LOOKED_UP = 2000
SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Listed:
    """A page of what a caller may read.

    Attributes:
        rows: the page, with `list_id` beside the columns asked for.
        next_cursor: where the next page starts, None when this one is the last.
    """

    rows: Sequence[asyncpg.Record]
    next_cursor: str | None


async def list_visible(
    caller: Caller, kind: ResourceKind, page: Page, *, columns: str, where: Sequence[str], params: Params
) -> Listed:
    """The page of rows that the caller may read, newest first.

    A list that takes too long is never shown short to somebody who counts pages, since a short page means its end; who
    follows cursors gets what was found in time, and the cursor to go on with.

    Args:
        caller: who asks.
        kind: the type of the rows.
        page: which part of the list.
        columns: select list over the alias `t`; must include `t.id`.
        where: the noun's conditions over `t`, whose values are in `params`.
        params: the statement's parameters.

    Raises:
        TooCostly: it takes too long, and the caller follows no cursor.
        AuthorizationUnavailable: an engine elsewhere gave no answer.
    """
    own = f"t.tenant_id = {params.add(caller.principal.tenant_id, 'uuid')}"
    conditions = " AND ".join([own, kind.alive, *where])
    if caller.decider.asks_elsewhere(caller.principal, kind.type):
        found = await _Search(caller, kind, page, conditions, params).read(columns)
    else:
        found = await _list_here(caller, kind, page, columns, conditions, params)
    caller.note(kind.type, "read", "listed")
    rows = found.rows[page.skip :]
    ids = [row["list_id"] for row in rows]
    caller.decider.note_listed(caller.principal, kind.type, ids)
    if found.unfinished_after is None:
        return Listed(rows, page.next_cursor(ids))
    if page.before is None:
        raise TooCostly(f"The list takes too long for one answer. Get it in parts: begin with `cursor={LAST_ID}`.")
    return Listed(rows, found.unfinished_after)


async def _list_here(
    caller: Caller, kind: ResourceKind, page: Page, columns: str, conditions: str, params: Params
) -> RowPage:
    columns += caller.presumed_column(params)
    async with caller.asking_database.connection() as connection:
        try:
            page_of_rows = await caller.decider.list_rows(
                connection,
                caller.principal,
                kind.type,
                table=kind.table,
                columns=columns,
                where=conditions,
                params=params,
                before=page.before,
                limit=page.rows_needed,
            )
        except ListTooCostly as error:
            raise TooCostly(str(error)) from error
    await caller.settle_listed(page_of_rows.rows)
    return page_of_rows


@dataclass(frozen=True, slots=True)
class _Found:
    ids: list[str]
    continues_after: str | None = None


class _Search:
    """A list whose answers come from an engine elsewhere."""

    def __init__(self, caller: Caller, kind: ResourceKind, page: Page, conditions: str, params: Params) -> None:
        self.caller, self.kind, self.page = caller, kind, page
        self.conditions, self.params = conditions, params

    @property
    def elsewhere(self) -> Elsewhere:
        found = self.caller.decider.elsewhere
        assert found is not None, "only an engine elsewhere is searched"
        return found

    async def read(self, columns: str) -> RowPage:
        """The rows of the page, found by their ids."""
        found = await self._run()
        params = self.params.copy()
        statement = (
            f"SELECT {columns}, t.id AS list_id FROM {self.kind.table} t"
            f" WHERE t.id = ANY ({params.add(found.ids, 'uuid[]')}) AND {self.conditions} ORDER BY t.id DESC"
        )
        async with self.caller.database.connection() as connection:
            return RowPage(list(await connection.fetch(statement, *params.values)), found.continues_after)

    async def _run(self) -> _Found:
        needed, before = self.page.rows_needed, self.page.before
        allowed: list[str] = []
        examined, size, looked_up = 0, min(max(needed, 50), BATCH), False
        ends = asyncio.get_running_loop().time() + SECONDS
        if not self.elsewhere.remote.bulk_checks:
            await self.caller.prove()
            looked_up, readable = True, await self._look_up()
            if readable is not None:
                return _Found(await self._among(readable, before, needed))
        while True:
            part, rows = await self._candidates(before, size)
            allowed += await self._allowed(part, rows)
            examined += len(rows)
            if len(allowed) >= needed or len(rows) < size:
                return _Found(allowed[:needed])
            before = rows[-1]["id"]
            missing = (needed - len(allowed)) * (examined / (len(allowed) + 1))
            if missing > MOST_LOOKED_UP and not looked_up:
                looked_up = True
                readable = await self._look_up()
                if readable is not None:
                    return _Found(allowed + await self._among(readable, before, needed - len(allowed)))
            if examined >= MOST_CANDIDATES or asyncio.get_running_loop().time() > ends:
                return _Found(allowed, before)
            size = BATCH

    async def _among(self, readable: ResourcePage, before: str | None, limit: int) -> list[str]:
        _, rows = await self._candidates(before, limit, readable)
        return [row["id"] for row in rows]

    async def _candidates(
        self, before: str | None, limit: int, readable: ResourcePage | None = None
    ) -> tuple[Part, list[asyncpg.Record]]:
        """Rows in order, each with what is known of it here, and the question that this answers.

        Args:
            before: after which id.
            limit: most rows.
            readable: what the engine allows; then only rows that it or the overlay allows.
        """
        params, tenant_id = self.params.copy(), self.caller.principal.tenant_id
        part = self.caller.part(params, "read", self.kind.type, "t.id")
        where, allows = [self.conditions], ""
        if before is not None:
            where.append(f"t.id < {params.add(before, 'uuid')}")
        if readable is not None:
            allows = " WHERE q.known IN ('yes', 'ask')"
        if readable is not None and not readable.unscoped:
            ids = params.add([id for id in readable.ids if is_id(id)], "uuid[]")
            where.append(f"(t.id = ANY ({ids}) OR {pending_sql(params, tenant_id, self.kind.type, 't.id')})")
            allows = f" WHERE q.known = 'yes' OR q.known = 'ask' AND q.id = ANY ({ids})"
        statement = (
            f"SELECT t.id, {part.sql} AS known, {tokens_sql(params, tenant_id, 't')} AS tokens"
            f"{self.caller.presumed_column(params)} FROM {self.kind.table} t"
            f" WHERE {' AND '.join(where)} ORDER BY t.id DESC"
        )
        if allows:
            statement = f"SELECT q.* FROM ({statement}) q{allows} ORDER BY q.id DESC"
        statement += f" LIMIT {params.add(limit, 'int')}"
        with translate_database_errors():
            async with self.caller.asking_database.connection() as connection:
                rows = list(await connection.fetch(statement, *params.values))
        await self.caller.settle_listed(rows)
        return part, rows

    async def _allowed(self, part: Part, rows: Sequence[asyncpg.Record]) -> list[str]:
        asked = [(part, row["known"], "read", Resource(self.kind.type, row["id"])) for row in rows]
        answers = await self.caller.decider.settle(
            self.caller.principal, asked, [token for row in rows for token in row["tokens"]]
        )
        return [row["id"] for row, allowed in zip(rows, answers, strict=True) if allowed]

    async def _look_up(self) -> ResourcePage | None:
        """All that the engine lets the caller read, None when that is too much to take at once."""
        ids: list[str] = []
        cursor = None
        while len(ids) < MOST_LOOKED_UP:
            found = await self.elsewhere.lookup(self.caller.principal, "read", self.kind.type, cursor)
            ids += found.ids
            if found.unscoped or found.cursor is None:
                return ResourcePage(tuple(ids), unscoped=found.unscoped)
            cursor = found.cursor
        return None
