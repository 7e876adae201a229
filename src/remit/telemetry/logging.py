"""Log lines: structured, with the request's id, without secrets."""

import logging
import sys
from collections.abc import Callable, MutableMapping
from functools import lru_cache, partial
from typing import Any, Literal, TextIO

import orjson
import structlog

# A value under one of these names is replaced, wherever it stands in a log line, unless it is a count.
_SECRET_NAMES = ("secret", "password", "authorization", "api_key", "token", "cookie", "dsn", "database_url")


@lru_cache(1000)
def _is_secret(name: str) -> bool:
    return any(part in name.lower() for part in _SECRET_NAMES)


def _hide_secrets(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in event.items():
        if _is_secret(name) and not isinstance(value, int):
            event[name] = "(hidden)"
    return event


class _LineLogger:
    """Writes finished lines to where a handler writes, without making a record of the standard library of each.

    Args:
        handler: whose stream and lock are used.
        name: the logger's name.
    """

    def __init__(self, handler: "logging.StreamHandler[TextIO]", name: str = "remit") -> None:
        self._handler = handler
        self.name = name

    def msg(self, line: str) -> None:
        """Write a line; like the standard library's, a log that cannot be written fails nobody's request."""
        self._handler.acquire()
        try:
            self._handler.stream.write(line + "\n")
            self._handler.flush()
        except (OSError, ValueError):
            pass
        finally:
            self._handler.release()

    debug = info = warning = error = critical = exception = msg


def _dump(event: Any, default: Callable[[Any], Any]) -> str:
    return orjson.dumps(event, default=default, option=orjson.OPT_NON_STR_KEYS).decode()


def configure_logging(style: Literal["console", "json"], level: str) -> None:
    """Send log lines of Remit and of its libraries to standard error.

    Args:
        style: `json` writes an object a line; `console` is for people.
        level: least severe level written.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _hide_secrets,
    ]
    renderer: list[structlog.typing.Processor] = (
        # The default prints local variables, and with them the credentials that a request came with.
        [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)]
        if style == "console"
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(serializer=_dump)]
    )
    handler = logging.StreamHandler()
    structlog.configure(
        processors=[*shared, *renderer],
        logger_factory=partial(_LineLogger, handler),
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        cache_logger_on_first_use=True,
    )
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    # One line a request is written by our own middleware; the libraries' lines would repeat it, URLs included. Alembic
    # tells of each of its parts that it has loaded it.
    for name in ("uvicorn.access", "httpx", "httpcore", "alembic.runtime.plugins"):
        logging.getLogger(name).setLevel(logging.WARNING)
