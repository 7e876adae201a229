"""One update told twice is shown once: an agent publishes to Redis what its own REST write has told already.

The SDK writes a message over REST and publishes the same to Redis, in one order or the other. Each telling of a source
cancels one of the same kind from the other. An agent without Redis tells once, and nothing is taken from its readers.
"""

from collections import OrderedDict
from typing import Literal

import orjson

Source = Literal["server", "redis"]

MOST_MESSAGES = 2_000

# How a streamed message ends: `done` in Redis, and over REST an update that is told as `full` and `done`.
_ALSO_TOLD_AS = {"done": ("done", "full")}


class Doubles:
    """What one reader has been shown of each message, by source."""

    def __init__(self) -> None:
        self._told: OrderedDict[tuple[str, str], dict[Source, int]] = OrderedDict()

    def is_double(self, data: str, source: Source) -> bool:
        """Whether an event was told by the other source already; it is remembered either way.

        Args:
            data: the event as JSON text.
            source: where it comes from.
        """
        key = _key_of(data)
        if key is None:
            return False
        message_id, kind = key
        told = self._told.setdefault((message_id, kind), {"server": 0, "redis": 0})
        other: Source = "redis" if source == "server" else "server"
        if told[other] > 0:
            told[other] -= 1
            return True
        for also in _ALSO_TOLD_AS.get(kind, (kind,)) if source == "redis" else (kind,):
            self._told.setdefault((message_id, also), {"server": 0, "redis": 0})[source] += 1
        while len(self._told) > MOST_MESSAGES:
            self._told.popitem(last=False)
        return False


def _key_of(data: str) -> tuple[str, str] | None:
    if '"delta"' in data[:40]:
        return None
    try:
        event = orjson.loads(data)
        kind, message_id = event["type"], event["parent_task_message"]["id"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
    return (message_id, kind) if kind in ("start", "full", "done") and isinstance(message_id, str) else None
