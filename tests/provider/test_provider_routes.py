"""Each route of the provider says what it asks."""

from fastapi.routing import APIRoute

from remit.authz.route import DECLARATION, GuardedRoute
from remit.provider.app import ROUTERS


def test_every_route_declares_what_it_asks() -> None:
    routes = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    assert len(routes) > 7
    for route in routes:
        assert isinstance(route, GuardedRoute), route.path
        declared = (route.openapi_extra or {}).get(DECLARATION)
        assert declared, f"{route.path} declares nothing"
        assert declared["asks"] or declared.get("because"), route.path
