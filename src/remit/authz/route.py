"""How a route says what it asks, and what holds it to its word.

A router made with `route_class=GuardedRoute` takes routes whose `openapi_extra` is `requires(…)` or `unguarded(…)`; the
declaration is published in the API description as `x-remit-permission`. A guarded route that answers a success although
the declared question was never asked is answered 500: a forgotten check shows at its first use, and shows nothing.
"""

from collections.abc import Callable, Coroutine
from functools import cached_property
from typing import Any

import orjson
import structlog
from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.routing import Match
from starlette.types import Scope

from remit.authz.caller import observe_checks
from remit.authz.once import Replayed, end_once
from remit.db.pool import UNREACHABLE
from remit.errors import Invalid, Refused, Unauthenticated, Unavailable

log = structlog.get_logger(__name__)

DECLARATION = "x-remit-permission"
DEEPEST_FILTER = 32


def requires(resource_type: str, permission: str, *, or_else: tuple[str, ...] = ()) -> dict[str, Any]:
    """The declaration of a route that asks `permission` on a resource of the type before its side effect.

    Args:
        resource_type: a type of the schema.
        permission: the permission that matches the side effect.
        or_else: what it asks instead for side effects of another kind, as `type.permission`.
    """
    return {DECLARATION: {"asks": [f"{resource_type}.{permission}", *or_else]}}


def unguarded(reason: str) -> dict[str, Any]:
    """The declaration of a route that asks nothing of the graph, with the reason why that is right."""
    return {DECLARATION: {"asks": [], "because": reason}}


def parse_json(body: bytes, most_depth: int) -> Any:
    """Parse JSON strictly (RFC 8259): no NaN, no lone surrogates, no U+0000, bounded depth.

    Args:
        body: the text.
        most_depth: deepest nesting allowed.

    Raises:
        Invalid: it is not such JSON.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Invalid([("body", f"must be JSON (line {error.lineno}, column {error.colno})")]) from error
    if b"\\u0000" in body.lower():
        _check_texts(value)
    if body.count(b"{") + body.count(b"[") > most_depth:
        _check_depth(value, most_depth)
    return value


def parse_filter(name: str, text: str) -> dict[str, Any]:
    """The value of a query parameter that filters by containment: a JSON object that is not empty.

    Args:
        name: of the parameter.
        text: its value.

    Raises:
        Invalid: it is no such object.
    """
    try:
        value = parse_json(text.encode(), DEEPEST_FILTER)
    except (Invalid, UnicodeEncodeError):
        value = None
    if not isinstance(value, dict) or not value:
        raise Invalid([(f"query.{name}", "must be a JSON object with at least one member")])
    return value


def _check_depth(value: Any, most_depth: int) -> None:
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(most_depth):
        children = [child for item in level for child in (item.values() if isinstance(item, dict) else item)]
        level = [child for child in children if isinstance(child, dict | list)]
        if not level:
            return
    raise Invalid([("body", f"must not be nested deeper than {most_depth} levels")])


def _check_texts(value: Any) -> None:
    waiting: list[tuple[str, Any]] = [("body", value)]
    while waiting:
        path, item = waiting.pop()
        if isinstance(item, str) and "\x00" in item:
            raise Invalid([(path, "must not contain the character U+0000")])
        if isinstance(item, dict):
            if any("\x00" in key for key in item):
                raise Invalid([(path, "must not contain the character U+0000 in a key")])
            waiting += [(f"{path}.{key}"[:100], child) for key, child in item.items()]
        elif isinstance(item, list):
            waiting += [(f"{path}.{number}"[:100], child) for number, child in enumerate(item)]


class StrictRequest(Request):
    """A request whose JSON is parsed by `parse_json`."""

    async def json(self) -> Any:
        """The body, parsed."""
        try:
            return parse_json(await self.body(), self.app.state.settings.max_json_depth)
        except Invalid as error:
            raise Refused(error) from error


async def _prove(request: Request) -> None:
    # Whatever the answer is, it goes to nobody whose key is not good: also where no statement was needed for it.
    caller = getattr(request.state, "caller", None)
    if caller is not None:
        await caller.prove()


class GuardedRoute(APIRoute):
    """A route that must ask what it declares."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether this is the route of a request; most others are ruled out by the fixed start of their path."""
        if not scope["path"].startswith(self._fixed_start) and not scope.get("root_path"):
            return Match.NONE, {}
        return super().matches(scope)

    @cached_property
    def _fixed_start(self) -> str:
        return self.path.partition("{")[0]

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, with the strict body and the check of the declaration around it."""
        handle = super().get_route_handler()
        declared = (self.openapi_extra or {}).get(DECLARATION)
        asks: list[str] = declared["asks"] if declared else ["nothing was declared"]

        async def handle_guarded(request: Request) -> Response:
            strict = StrictRequest(request.scope, request.receive)
            request.state.proves = True
            response: Response | None = None
            try:
                response = await handle(strict)
            except Replayed as replay:
                response = replay.response()
            except (Unauthenticated, Unavailable, *UNREACHABLE):
                raise
            except Exception:
                await _prove(request)
                raise
            finally:
                caller = getattr(request.state, "caller", None)
                await end_once(request, caller, response)
            await _prove(request)
            if caller is not None:
                observe_checks(caller)
            if asks and response.status_code < 400 and (caller is None or caller.asked.isdisjoint(asks)):
                log.error("route did not ask what it declares", route=self.path, asks=asks)
                raise RuntimeError("The route answered without asking for the permission that it declares.")
            return response

        return handle_guarded
