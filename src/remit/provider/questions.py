"""Checks and searches of the contract, asked of the embedded engine."""

from collections.abc import Sequence
from typing import Literal

from remit.authz.errors import PermissionUnknown, translate_database_errors
from remit.authz.ids import encode_id
from remit.authz.model import Resource
from remit.db.params import Params
from remit.provider.names import to_resource, to_selector
from remit.provider.standing import Asker

ResourceType = Literal["agent", "task", "api_key", "schedule"]
Operation = Literal["create", "read", "update", "delete", "execute", "cancel"]

ANY = "*"
# `create` is asked before there is a resource: it is a right in the account.
CREATES: dict[str, str] = {"agent": "create_agent", "task": "create_task"}
_PAGE = 5000

Question = tuple[str, Resource]


def question_of(account_id: str, type: str, selector: str, operation: str) -> Question | None:
    """What an operation asks of the graph, as permission and resource; None is a question whose answer is no."""
    if selector == ANY or operation == "create":
        permission = CREATES.get(type) if selector == ANY and operation == "create" else None
        return (permission, Resource("tenant", account_id)) if permission else None
    resource = to_resource(account_id, type, selector)
    return (operation, resource) if resource else None


async def ask(asker: Asker, questions: Sequence[Question]) -> list[bool]:
    """The answers to several questions, in one statement. What the schema does not know is not allowed."""
    params = Params()
    parts = []
    for permission, resource in questions:
        id_sql = params.add(encode_id(resource.type, resource.id), "uuid")
        try:
            part = asker.provider.engine.check_sql(params, asker.subject, permission, resource.type, id_sql)
        except PermissionUnknown:
            part = f"({id_sql} IS NULL)"
        parts.append(part)
    with translate_database_errors():
        row = await asker.connection.fetchrow("SELECT " + ", ".join(parts), *params.values)
    assert row is not None, "a SELECT without FROM has one row"
    return [bool(answer) for answer in row.values()]


async def check(asker: Asker, type: str, selector: str, operation: str) -> bool:
    """May the principal do the operation?"""
    question = question_of(asker.account_id, type, selector, operation)
    return question is not None and (await ask(asker, [question]))[0]


async def search(asker: Asker, type: str, operation: str) -> list[str]:
    """The caller's ids of all resources of a type on which the principal may do an operation.

    Never `unscoped`: the caller would list the rows of every account.
    """
    # Ids that are not UUIDs are kept in `authz_ids`; those of Remit's own resources are not there.
    ids = f"(SELECT i.id, i.text FROM authz_ids i WHERE i.type = (SELECT code FROM authz_types WHERE name = '{type}'))"
    found: list[str] = []
    before: str | None = None
    while True:
        params = Params()
        own = params.add(f"{asker.account_id}/", "text")
        try:
            page = await asker.provider.engine.list_rows(
                asker.connection,
                asker.subject,
                operation,
                type,
                table=ids,
                columns="t.id, t.text",
                where=f"starts_with(t.text, {own})",
                params=params,
                before=before,
                limit=_PAGE,
            )
        except PermissionUnknown:
            return []
        found += [selector for row in page.rows if (selector := to_selector(asker.account_id, row["text"])) is not None]
        if page.unfinished_after is None and len(page.rows) < _PAGE:
            return found
        before = page.unfinished_after or page.rows[-1]["id"]
