"""What is told of one thing never goes back: of a message or a task, an update older than the one shown is left out.

Each process writes what it has gathered when its time has come. So of two requests that follow each other, the second
one answered by another process, the updates may stand in the table the other way round.
"""

from collections import OrderedDict
from datetime import datetime

import orjson

MOST_THINGS = 2_000


class Order:
    """How far one reader has been told of each message, and of the task."""

    def __init__(self) -> None:
        self._newest: OrderedDict[str, datetime] = OrderedDict()

    def is_stale(self, data: str) -> bool:
        """Whether a newer state of the same thing was shown; it is remembered otherwise.

        Args:
            data: an update as the server told it, as JSON text.
        """
        if '"delta"' in data[:40]:
            return False  # those of a message come from one process, between its start and its end
        event = orjson.loads(data)
        thing = event.get("task") or event.get("parent_task_message")
        if not isinstance(thing, dict) or not isinstance(thing.get("updated_at"), str):
            return False
        id, at = thing["id"], datetime.fromisoformat(thing["updated_at"])
        if id in self._newest and at < self._newest[id]:
            return True
        self._newest[id] = at
        self._newest.move_to_end(id)
        if len(self._newest) > MOST_THINGS:
            self._newest.popitem(last=False)
        return False
