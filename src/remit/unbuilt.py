"""Operations of the contract that are not built: after authentication each answers 404 `not-implemented`.

The table is what `docs/not-built.md` prints (`python -m remit.unbuilt`). It may only shrink: what is built leaves it.
"""

from typing import NoReturn

from fastapi import APIRouter

from remit.authz.caller import CurrentCaller
from remit.authz.route import GuardedRoute, unguarded
from remit.errors import NotBuilt

_SCHEDULE = "/agents/{agent_id}/schedules"
_BY_ID, _BY_NAME = f"{_SCHEDULE}/{{schedule_id}}", f"{_SCHEDULE}/name/{{name}}"
_DEPLOYMENT = "/agents/{agent_id}/deployments"

# In the order of matching, as in `app.ROUTERS`. What is asked for, with the operations that belong to it.
UNBUILT: dict[str, tuple[tuple[str, str], ...]] = {
    "Schedules": (
        ("POST", _SCHEDULE),
        ("GET", _SCHEDULE),
        ("GET", _BY_NAME),
        ("PATCH", _BY_NAME),
        ("DELETE", _BY_NAME),
        ("POST", f"{_BY_NAME}/trigger"),
        ("POST", f"{_BY_NAME}/pause"),
        ("POST", f"{_BY_NAME}/resume"),
        ("GET", _BY_ID),
        ("PATCH", _BY_ID),
        ("DELETE", _BY_ID),
        ("POST", f"{_BY_ID}/trigger"),
        ("POST", f"{_BY_ID}/skip"),
        ("POST", f"{_BY_ID}/unskip"),
        ("POST", f"{_BY_ID}/pause"),
        ("POST", f"{_BY_ID}/resume"),
    ),
    "Deployments of agents": (
        ("POST", _DEPLOYMENT),
        ("GET", _DEPLOYMENT),
        ("GET", f"{_DEPLOYMENT}/{{deployment_id}}"),
        ("DELETE", f"{_DEPLOYMENT}/{{deployment_id}}"),
        ("POST", f"{_DEPLOYMENT}/{{deployment_id}}/promote"),
        ("POST", f"{_DEPLOYMENT}/{{deployment_id}}/rpc"),
        ("GET", "/deployment-history"),
        ("GET", "/deployment-history/{deployment_id}"),
    ),
    "Queries of Temporal workflows": (("GET", "/tasks/{task_id}/query/{query_name}"),),
    "The Slack gateway": (
        ("POST", "/slack/events"),
        ("POST", "/slack/commands"),
        ("POST", "/slack/interactions"),
    ),
    "The Linear gateway": (("POST", "/linear/events"),),
}

# Not in the API description, which tells what there is.
router = APIRouter(route_class=GuardedRoute, include_in_schema=False)


def _add_operation(method: str, path: str, subject: str) -> None:
    async def refuse(_: CurrentCaller) -> NoReturn:
        raise NotBuilt(f"{subject}: this server does not have that operation.")

    router.add_api_route(
        path,
        refuse,
        methods=[method],
        name=f"{method} {path}",
        response_model=None,
        openapi_extra=unguarded("there is nothing yet to ask about, and the answer is the same for everybody"),
    )


for _subject, _operations in UNBUILT.items():
    for _method, _path in _operations:
        _add_operation(_method, _path, _subject)


def describe_unbuilt() -> str:
    """The page of the documentation, as Markdown."""
    head = (
        "# Operations that are not built\n\nOperations of the contract that this server does not have. After "
        "authentication each answers 404 with the type\n`urn:remit:problem:not-implemented`. Written from "
        "`src/remit/unbuilt.py` by `scripts/write-configuration`.\n\n| what | operation |\n| --- | --- |\n"
    )
    rows = [
        f"| {subject} | `{method} {path}` |\n" for subject, operations in UNBUILT.items() for method, path in operations
    ]
    return head + "".join(rows)


if __name__ == "__main__":
    print(describe_unbuilt(), end="")  # noqa: T201 - printing is this module's purpose
