"""Each route says what it asks, and one that does not keep its word answers nothing."""

import httpx
from fastapi import APIRouter
from fastapi.routing import APIRoute
from support.graph import make_world, open_seeder
from support.server import Server, serve

from remit.app import ROUTERS, create_app
from remit.authz.caller import CurrentCaller
from remit.authz.guard import authorize
from remit.authz.load import load_engine
from remit.authz.route import DECLARATION, GuardedRoute, requires, unguarded
from remit.db.pool import Database
from remit.settings import Settings
from remit.tasks.service import TASK
from remit.unbuilt import UNBUILT

# FastAPI's own: the API's description and the page that shows it.
FRAMEWORK = {"/openapi.json", "/swagger", "/swagger/oauth2-redirect"}
UNGUARDED = {
    "/agents/forward/name/{agent_name}/{path:path}",
    "/healthz",
    "/readyz",
    "/healthcheck",
    "/metrics",
    "/me",
    "/agents/register",
} | {path for operations in UNBUILT.values() for _, path in operations}


def our_routes() -> list[APIRoute]:
    return [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]


async def test_every_route_of_the_application_is_one_of_ours(server: Server) -> None:
    ours = {(route.path_format, method) for route in our_routes() for method in route.methods or ()}
    async with httpx.AsyncClient(base_url=server.url, trust_env=False) as http:
        described = (await http.get("/openapi.json")).json()["paths"]
    served = {(path, method.upper()) for path, methods in described.items() for method in methods}
    assert served <= ours
    assert len(served) > 40


def test_every_route_declares_what_it_asks() -> None:
    for route in our_routes():
        assert isinstance(route, GuardedRoute), route.path
        declared = (route.openapi_extra or {}).get(DECLARATION)
        assert declared, f"{route.path} declares nothing"
        assert declared["asks"] or declared.get("because"), f"{route.path} asks nothing and does not say why"


def test_only_these_routes_ask_nothing() -> None:
    asked_nothing = {route.path for route in our_routes() if not (route.openapi_extra or {})[DECLARATION]["asks"]}
    assert asked_nothing == UNGUARDED


def hides(earlier: str, later: str) -> bool:
    """Whether a path that `later` names outright is taken by a parameter of `earlier`."""
    ours, others = earlier.split("/"), later.split("/")
    if len(ours) != len(others) and not min(ours, others, key=len)[-1].endswith(":path}"):
        return False
    pairs = [
        (one.startswith("{"), other.startswith("{"), one == other) for one, other in zip(ours, others, strict=False)
    ]
    if any(not (one or other or same) for one, other, same in pairs):
        return False
    return next((one for one, other, _ in pairs if one != other), False)


def test_no_route_hides_what_a_later_one_names() -> None:
    routes = [(method, route.path) for route in our_routes() for method in route.methods or ()]
    pairs = [(one, other) for place, one in enumerate(routes) for other in routes[place + 1 :] if one[0] == other[0]]
    assert [pair for pair in pairs if hides(pair[0][1], pair[1][1])] == []
    assert [pair for pair in pairs if hides(pair[1][1], pair[0][1])] != []


async def test_every_declared_permission_exists_in_the_schema(database: str) -> None:
    store = await Database.open(database)
    try:
        async with store.connection() as connection:
            engine = await load_engine(connection, Settings())
        for route in our_routes():
            for ask in (route.openapi_extra or {})[DECLARATION]["asks"]:
                type, permission = ask.split(".")
                definition = engine.schema.get(type)
                assert definition is not None, ask
                assert definition.get(permission) is not None, ask
    finally:
        await store.close()


async def test_a_route_that_does_not_ask_is_answered_500(database: str) -> None:
    router = APIRouter(route_class=GuardedRoute)

    @router.get("/forgetful", openapi_extra=requires("task", "read"))
    async def forget(_: CurrentCaller) -> str:
        return "secret"

    @router.get("/undeclared")
    async def declare_nothing(_: CurrentCaller) -> str:
        return "secret"

    @router.get("/wrong/{task_id}", openapi_extra=requires("task", "delete"))
    async def ask_something_else(caller: CurrentCaller, task_id: str) -> str:
        await authorize(caller, TASK, "read", id=task_id, columns="t.id")
        return "secret"

    @router.get("/open", openapi_extra=unguarded("a test"))
    async def say(_: CurrentCaller) -> str:
        return "no secret"

    app = create_app(Settings(), database)
    app.include_router(router)
    async with serve(database, app) as server, open_seeder(database, server.url) as seed:
        world = await make_world(seed)
        agent = await world.make_agent("http://127.0.0.1:9")
        task = await world.alice.make_task(agent)
        for path in ("/forgetful", "/undeclared", f"/wrong/{task['id']}"):
            response = await world.alice.get(path)
            assert response.status_code == 500, path
            assert "secret" not in response.text
            assert response.headers["x-request-id"] == response.json()["request_id"]
        assert (await world.alice.get("/open")).json() == "no secret"
