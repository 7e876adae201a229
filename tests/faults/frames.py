"""Where messages end in the byte streams of PostgreSQL and HTTP/1.1 (of HTTP/2: `http2`).

A framer is fed what arrives and gives it back in pieces, nothing added and nothing left out. A piece that completes a
message carries a label: of PostgreSQL the statement, of HTTP/2 the method, of HTTP/1.1 the path.
"""

import re
import struct
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

_NO_ENCRYPTION = frozenset({80877103, 80877104})
_CANCEL = 80877102
LABEL_LENGTH = 64
_SAVEPOINT = re.compile(r"__asyncpg_savepoint_\w+")
_PARTS = frozenset({b"P", b"B", b"D", b"E", b"C"})


@dataclass(frozen=True)
class Piece:
    """Some bytes of one direction of a connection.

    Attributes:
        data: the bytes.
        label: of the message that they complete, None where they complete none.
        stream: of HTTP/2, whose frame it is.
        answer: what the proxy itself answers instead of passing the piece on.
    """

    data: bytes
    label: str | None = None
    stream: int = 0
    answer: bytes = b""


@dataclass
class Session:
    """What the two directions of a PostgreSQL connection know of one another."""

    waiting: deque[str | None] = field(default_factory=deque)


class PostgresRequests:
    """The client's messages; one that has something executed is a message of its own, a mere preparation is not."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._buffer = b""
        self._started = False
        self._statements: dict[bytes, str] = {}
        self._bound: str | None = None
        self._executed: str | None = None
        self._first: str | None = None
        self._parts = b""

    def feed(self, data: bytes) -> Iterator[Piece]:
        """The complete messages of what has arrived: nothing of one goes on before its end is there.

        A statement of which the end alone is missing would hold its locks, and no time limit of the server counts.
        """
        self._buffer += data
        while True:
            head = 0 if not self._started else 1
            if len(self._buffer) < head + 4:
                return
            (length,) = struct.unpack_from("!I", self._buffer, head)
            if len(self._buffer) < head + length:
                return
            frame, self._buffer = self._buffer[: head + length], self._buffer[head + length :]
            if not self._started:
                yield self._startup(frame)
                continue
            label = self._frame(frame)
            self._parts += frame
            if frame[:1] not in _PARTS:
                whole, self._parts = self._parts, b""
                yield Piece(whole, label)

    def _startup(self, frame: bytes) -> Piece:
        (code,) = struct.unpack_from("!I", frame, 4)
        if code in _NO_ENCRYPTION:
            return Piece(frame, answer=b"N")
        self._started = code != _CANCEL
        return Piece(frame)

    def _frame(self, frame: bytes) -> str | None:
        kind, body = frame[:1], frame[5:]
        if kind == b"P":
            name, _, rest = body.partition(b"\0")
            self._statements[name] = _label(rest.partition(b"\0")[0])
        elif kind == b"B":
            self._bound = self._statements.get(body.partition(b"\0")[2].partition(b"\0")[0], "?")
        elif kind == b"E":
            self._executed = self._bound
        elif kind == b"Q":
            return self._request(_label(body.rstrip(b"\0")))
        elif kind == b"S":
            executed, self._executed = self._executed, None
            if executed is None:
                self._session.waiting.append(None)
                return None
            return self._request(executed)
        return None

    def _request(self, label: str) -> str:
        # What a transaction does tells its beginning and its end from those of others.
        if label.startswith("BEGIN"):
            self._first = None
        elif label.startswith(("COMMIT", "ROLLBACK")):
            label = f"{label.rstrip(';')} of {self._first}"[:LABEL_LENGTH]
        elif self._first is None:
            self._first = label
        self._session.waiting.append(label)
        return label


class PostgresAnswers:
    """The server's messages; one ends where the server is ready for the next."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._buffer = b""
        self._answered = False

    def feed(self, data: bytes) -> Iterator[Piece]:
        """The complete frames of what has arrived."""
        self._buffer += data
        while len(self._buffer) >= 5:
            (length,) = struct.unpack_from("!I", self._buffer, 1)
            if len(self._buffer) < 1 + length:
                return
            frame, self._buffer = self._buffer[: 1 + length], self._buffer[1 + length :]
            if frame[:1] != b"Z":
                yield Piece(frame)
            elif not self._answered:
                self._answered = True  # to the start of the session, which is no statement
                yield Piece(frame)
            else:
                yield Piece(frame, self._session.waiting.popleft() if self._session.waiting else None)


class Http1:
    """One direction of an HTTP/1.1 connection; a message is a request or a response with its body.

    Args:
        asked: the paths of requests that have no answer yet; shared by both directions.
    """

    def __init__(self, asked: deque[str]) -> None:
        self._buffer = b""
        self._asked = asked

    def feed(self, data: bytes) -> Iterator[Piece]:
        """The complete messages of what has arrived."""
        self._buffer += data
        while True:
            head, separator, rest = self._buffer.partition(b"\r\n\r\n")
            if not separator:
                return
            lines = head.decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
            if headers.get("transfer-encoding") == "chunked":
                end = rest.find(b"0\r\n\r\n")
                if end < 0:
                    return
                length = end + 5
            else:
                length = int(headers.get("content-length", "0"))
            whole = len(head) + 4 + length
            if len(self._buffer) < whole:
                return
            message, self._buffer = self._buffer[:whole], self._buffer[whole:]
            if lines[0].startswith("HTTP/"):
                yield Piece(message, self._asked.popleft() if self._asked else None)
            else:
                path = lines[0].split(" ")[1]
                self._asked.append(path)
                yield Piece(message, path)


def _label(sql: bytes) -> str:
    text = " ".join(sql.decode(errors="replace").split())[:LABEL_LENGTH]
    return _SAVEPOINT.sub("savepoint", text)
