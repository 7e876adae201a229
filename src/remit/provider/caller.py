"""Which server asks: the caller's own credential, where one is set.

A caller that cannot add a header of its own (the contract has none) puts the secret into the address that it is given,
`https://provider/caller/<secret>`; it is taken out of the path here, before anything logs or counts it.
"""

import hmac
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from remit.errors import Unauthenticated
from remit.telemetry.middleware import send_problem

HEADER = "x-remit-caller-secret"
PREFIX = "/caller/"
# Tells the caller apart from its user: a caller that knows the header answers 503 instead of blaming the user.
_NOT_THE_USER = {"x-service-account-auth-error": "unauthenticated"}
_OPEN = ("/healthz", "/readyz")


class CallerSecret:
    """Answers 401 to every call without the secret, but for the health probes.

    Args:
        app: the application inside.
        secret: what callers must show; None asks for nothing.
    """

    def __init__(self, app: ASGIApp, secret: str | None) -> None:
        self._app = app
        self._secret = secret

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection, by the ASGI specification."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope, shown = _take_secret(scope)
        if self._secret is not None and scope["path"] not in _OPEN:
            shown = shown or Headers(scope=scope).get(HEADER, "")
            if not hmac.compare_digest(shown.encode(), self._secret.encode()):
                error = Unauthenticated(
                    "The server that asks has not shown its caller secret (REMIT_AUTH_CALLER_SECRET).",
                    headers=_NOT_THE_USER,
                )
                await send_problem(send, error, None)
                return
        await self._app(scope, receive, send)


def _take_secret(scope: Scope) -> tuple[Scope, str]:
    path: str = scope["path"]
    if not path.startswith(PREFIX):
        return scope, ""
    shown, slash, rest = path.removeprefix(PREFIX).partition("/")
    changed: dict[str, Any] = {**scope, "path": slash + rest, "raw_path": (slash + rest).encode()}
    return changed, shown
