"""One call of an agent, and what can go wrong with it.

AgentError
├── AgentUnreachable    no connection was made, so nothing ran
├── AgentTimeout        no answer in time
├── AgentDisconnected   the connection ended before a whole HTTP answer had come
├── AgentRubbish        an answer that is not what the contract says
└── AgentFailed         the agent's own JSON-RPC error

What an agent does with a call is unknown after each of these but the first.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import structlog
from opentelemetry.trace import Span, StatusCode

from remit.agents.addresses import AddressRefused, DialFailed
from remit.rpc.answers import AgentError, AgentFailed
from remit.rpc.connection import BrokenAnswer

log = structlog.get_logger(__name__)


class AgentUnreachable(AgentError):
    """No connection to the agent was made."""


class AgentTimeout(AgentError):
    """The agent did not answer in time."""


class AgentDisconnected(AgentError):
    """The connection to the agent ended before a whole answer had come."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One call: what the agent is sent, and what error messages and the log say about it."""

    registered: str
    address: str
    method: str
    task_id: str
    request_id: str
    headers: list[tuple[bytes, bytes]]
    body: bytes
    span: Span
    verb: str = "POST"
    target: str = "/api"

    @property
    def id(self) -> str:
        """The id of the JSON-RPC call."""
        return rpc_id(self.method, self.task_id)

    def hide_address(self, text: str) -> str:
        """`text` without any spelling of where the agent listens."""
        for url in (self.registered, self.address):
            parts = urlsplit(url)
            hosts = [parts.hostname or ""] if re.search(r"[.:]", parts.hostname or "") else []
            for spelling in (url, parts.netloc, *hosts):
                text = text.replace(spelling, "[agent]")
        return text


def rpc_id(method: str, task_id: str) -> str:
    """The id of a JSON-RPC call of a method for a task."""
    return f"{method}-{task_id}"


@contextmanager
def typed_errors(exchange: Exchange) -> Iterator[None]:
    """Turns what goes wrong on the way into an `AgentError` without the agent's address; the log has the cause."""
    try:
        try:
            yield
        except AddressRefused as error:
            raise AgentUnreachable("The agent's address is not one that the server calls.") from error
        except DialFailed as error:
            raise AgentUnreachable("The agent cannot be reached. Check that it runs, then try again.") from error
        except TimeoutError as error:
            raise AgentTimeout("The agent did not answer in time.") from error
        except BrokenAnswer as error:
            raise AgentDisconnected("The agent's answer broke off or was not HTTP.") from error
        except AgentFailed as error:
            raise AgentFailed(error.code, exchange.hide_address(error.message)) from error
    except AgentError as error:
        exchange.span.set_status(StatusCode.ERROR, type(error).__name__)
        log.warning(
            "agent call failed",
            error=type(error).__name__,
            reason=str(error),
            cause=repr(error.__cause__) if error.__cause__ else None,
            address=exchange.address,
            method=exchange.method,
            task_id=exchange.task_id,
            request_id=exchange.request_id,
        )
        raise
    finally:
        exchange.span.end()
