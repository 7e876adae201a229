"""What goes wrong, once, with its tables per protocol.

    RemitError                      status   JSON-RPC
    ├── BadRequest                     400     -32602
    │   └── CredentialsDisagree        400     -32600
    ├── Unauthenticated                401     -32001
    ├── Forbidden                      403     -32003
    ├── NotFound                       404     -32004
    │   └── NotBuilt                   404     -32004
    ├── Conflict                       409     -32009
    │   └── TaskBusy                   409     -32009
    ├── idempotency.InProgress         409     -32009
    ├── TooLarge                       413     -32600
    ├── Invalid                        422     -32602
    ├── limits.TooManyRequests         429     -32029
    ├── AgentTrouble                   502     -32603
    ├── TooCostly                      503     -32603
    └── Unavailable                    503     -32603
        ├── NotRegistered              503     -32603
        └── AuthorizationUnavailable   503     -32603

A body holds the members that published clients read (`message`, `code`, `data`, and `status_code` on 422) beside those
of a problem document (RFC 9457). Bodies never echo input, SQL, paths or internal addresses.
"""

from collections.abc import Sequence
from typing import Any

from starlette.exceptions import HTTPException

PROBLEM_BASE = "urn:remit:problem:"


class RemitError(Exception):
    """Base of every error that a caller is told about.

    Attributes:
        status: the HTTP status.
        rpc_code: the code of a JSON-RPC error object.
        problem: last part of the problem's type.
        title: the problem in general, the same at each occurrence.
        retry: whether the very same request can succeed later; None leaves it to the client's own rule.
    """

    status = 500
    rpc_code = -32603
    problem = "internal"
    title = "Internal error"
    retry: bool | None = None

    def __init__(self, message: str, *, data: Any = None, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.data = data
        self._headers = headers or {}

    def headers(self) -> dict[str, str]:
        """Response headers, among them the word to the client about retries."""
        retry = {} if self.retry is None else {"x-should-retry": "true" if self.retry else "false"}
        return {**retry, **self._headers}

    def body(self, request_id: str | None) -> dict[str, Any]:
        """The response body: the contract's members and those of a problem document."""
        return {
            "message": self.message,
            "code": self.status,
            "data": self.data,
            "type": PROBLEM_BASE + self.problem,
            "title": self.title,
            "status": self.status,
            "detail": self.message,
            "request_id": request_id,
        }

    def rpc_error(self) -> dict[str, Any]:
        """The error object of a JSON-RPC answer."""
        return {"code": self.rpc_code, "message": self.message, "data": self.data}


class BadRequest(RemitError):
    """The request is understood and cannot be carried out as it is."""

    status, rpc_code, problem, title = 400, -32602, "bad-request", "The request cannot be carried out as it is"
    retry = False


class CredentialsDisagree(BadRequest):
    """Two credentials of one request belong to different principals."""

    rpc_code, problem, title = -32600, "credentials-disagree", "Two credentials of one request disagree"


class Unauthenticated(RemitError):
    """There is no good credential."""

    status, rpc_code, problem, title = 401, -32001, "unauthenticated", "Nobody is authenticated"
    retry = False

    def headers(self) -> dict[str, str]:
        """With the scheme to authenticate by (RFC 9110 §11.6.1)."""
        return {**super().headers(), "www-authenticate": 'Bearer realm="remit"'}


class Forbidden(RemitError):
    """The caller may read the resource, but not do this to it."""

    status, rpc_code, problem, title = 403, -32003, "forbidden", "The permission is missing"
    retry = False


class NotFound(RemitError):
    """There is no such thing, or not for this caller."""

    status, rpc_code, problem, title = 404, -32004, "not-found", "There is no such thing for this caller"
    retry = False


class NotBuilt(NotFound):
    """The contract has the operation, this server does not."""

    problem, title = "not-implemented", "The operation is not built"


class Conflict(RemitError):
    """The state of things does not allow it."""

    status, rpc_code, problem, title = 409, -32009, "conflict", "The state does not allow it"
    retry = False


class TaskBusy(Conflict):
    """Another message is being answered on the task."""

    problem, title = "task-busy", "Another message is being answered on this task"


class TooLarge(RemitError):
    """The body is longer than the server reads."""

    status, rpc_code, problem, title = 413, -32600, "too-large", "The request body is too large"
    retry = False


class Invalid(RemitError):
    """Input that does not fit its type. `errors` names each field and what it must be."""

    status, rpc_code, problem, title = 422, -32602, "invalid", "The request does not fit its description"
    retry = False

    def __init__(self, errors: Sequence[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{field}: {text}" for field, text in errors))
        self.errors = errors

    def body(self, request_id: str | None) -> dict[str, Any]:
        """With each field and what it must be."""
        errors = [{"field": field, "message": text} for field, text in self.errors]
        return {**super().body(request_id), "status_code": 10422, "errors": errors}


class AgentTrouble(RemitError):
    """The agent did not answer, or not as it should. Nothing says where it runs."""

    status, problem, title = 502, "agent-trouble", "The agent did not do its part"
    retry = False


class Unavailable(RemitError):
    """The database, or another part, cannot be reached at the moment."""

    status, problem, title = 503, "unavailable", "A part of the service cannot be reached"
    retry = True

    def headers(self) -> dict[str, str]:
        """With the time after which a repeat makes sense."""
        return {"retry-after": "1", **super().headers()}


class NotRegistered(Unavailable):
    """A task was made and the authorization engine could not be told of it.

    Args:
        task_id: the task, which is kept; its agent is called once the engine was told.
    """

    problem, title = "not-registered", "The task is made and not registered yet"
    retry = False

    def __init__(self, task_id: str) -> None:
        super().__init__(
            f"The task {task_id} is made, but the authorization engine could not be told yet. It will be, and its "
            "agent is called then; repeat the call by its name to try at once.",
            data={"task_id": task_id},
        )


class TooCostly(RemitError):
    """A list takes longer than a list may; the same request again would as well."""

    status, problem, title = 503, "list-too-costly", "The list takes too long for one answer"
    retry = False


class AuthorizationUnavailable(Unavailable):
    """The engine gave no answer: not an allow, and not a word about what exists."""

    problem, title = "authorization-unavailable", "Authorization cannot be decided"


class Refused(HTTPException):
    """Carries a `RemitError` through FastAPI's reading of the body, which lets only its own exceptions pass."""

    def __init__(self, error: RemitError) -> None:
        super().__init__(error.status)
        self.error = error
