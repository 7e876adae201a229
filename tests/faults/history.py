"""The log of a run: every request with its start, its end and its answer, one JSON object a line, only added to."""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

Action = Literal[
    "create",
    "read",
    "update",
    "share",
    "revoke",
    "join",
    "leave",
    "key_create",
    "key_use",
    "key_delete",
    "delete",
    "outage",
    "settled",
]
"""`outage` and `settled` are no requests: from one to the other revocations may wait longer than a minute."""


@dataclass(frozen=True)
class Entry:
    """A request.

    Attributes:
        action: what was asked.
        who: by whom.
        resource: of what.
        start: when it was sent, in seconds of one clock.
        end: when its answer came, or was given up.
        status: the answer, None for none: then it may have happened or not.
        to: of a share, a revoke, a join or a leave: whom it concerns.
    """

    action: Action
    who: str
    resource: str
    start: float
    end: float
    status: int | None
    to: str | None = None

    @property
    def done(self) -> bool:
        """It was answered with success."""
        return self.status is not None and 200 <= self.status < 300


@dataclass(frozen=True)
class Terms:
    """What a history is judged by.

    Attributes:
        judge: `relationships` or `roles`.
        roles: of each person of the tenant; whoever is not named is of another one.
    """

    judge: Literal["relationships", "roles"]
    roles: dict[str, str]


class History:
    """Entries, and the file that they are added to.

    Args:
        terms: what it is judged by.
        path: the file; None keeps entries in memory alone.
    """

    def __init__(self, terms: Terms, path: Path | None = None) -> None:
        self.terms = terms
        self.entries: list[Entry] = []
        self._file = path.open("a") if path else None
        self._write({"terms": asdict(terms)})

    def add(self, entry: Entry) -> None:
        """Add one."""
        self.entries.append(entry)
        self._write(asdict(entry))

    def mark(self, action: Literal["outage", "settled"]) -> None:
        """Note something that is no request."""
        now = time.monotonic()
        self.add(Entry(action, "", "", now, now, None))

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def _write(self, value: dict[str, Any]) -> None:
        if self._file is not None:
            self._file.write(json.dumps(value) + "\n")
            self._file.flush()


def read_history(path: Path) -> History:
    """The history of a file."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    history = History(Terms(**lines[0]["terms"]))
    history.entries = [Entry(**line) for line in lines[1:]]
    return history
