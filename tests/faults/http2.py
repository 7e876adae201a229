"""Where messages end in the byte streams of HTTP/2, and a call said once more by itself."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from hpack import Decoder, Encoder

from faults.frames import Piece

_DATA, _HEADERS, _RESET, _SETTINGS, _CONTINUATION = 0, 1, 3, 4, 9
_END_STREAM, _END_HEADERS, _PADDED, _PRIORITY = 1, 4, 8, 32
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_LARGEST = 16384


@dataclass
class Call:
    """A call on an HTTP/2 connection.

    Attributes:
        headers: as the client sent them.
        body: what it has sent of it.
    """

    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""

    @property
    def name(self) -> str:
        """The method that is called."""
        paths = [value for name, value in self.headers if name == b":path"]
        return paths[0].rpartition(b"/")[2].decode() if paths else "?"

    def say_again(self) -> bytes:
        """A connection on which this call alone is made."""
        block = Encoder().encode(self.headers)
        frames = [_frame(_SETTINGS, 0, 0, b""), _frame(_HEADERS, _END_HEADERS, 1, block)]
        parts = [self.body[at : at + _LARGEST] for at in range(0, len(self.body), _LARGEST)] or [b""]
        frames += [_frame(_DATA, 0, 1, part) for part in parts[:-1]]
        return b"".join([_PREFACE, *frames, _frame(_DATA, _END_STREAM, 1, parts[-1])])


class Http2Requests:
    """What the client says on an HTTP/2 connection; a message ends with the frame that ends its call.

    Args:
        calls: those that have no answer yet, by their stream; shared with the answers.
    """

    def __init__(self, calls: dict[int, Call]) -> None:
        self._frames = _Frames(len(_PREFACE))
        self._calls = calls
        self._decoder = Decoder()
        self._block = b""

    def feed(self, data: bytes) -> Iterator[Piece]:
        """The complete frames of what has arrived."""
        for frame in self._frames.feed(data):
            if not frame.stream:
                yield Piece(frame.data)
                continue
            call = self._calls.setdefault(frame.stream, Call())
            if frame.kind in (_HEADERS, _CONTINUATION):
                self._block += frame.content
                if frame.flags & _END_HEADERS:
                    call.headers = [
                        (bytes(name), bytes(value)) for name, value in self._decoder.decode(self._block, raw=True)
                    ]
                    self._block = b""
            elif frame.kind == _DATA:
                call.body += frame.content
            elif frame.kind == _RESET:
                self._calls.pop(frame.stream, None)
            ends = frame.kind in (_DATA, _HEADERS) and bool(frame.flags & _END_STREAM)
            yield Piece(frame.data, call.name if ends else None, frame.stream)


class Http2Answers:
    """What the server says; a message ends with the frame that ends the answer to a call."""

    def __init__(self, calls: dict[int, Call]) -> None:
        self._frames = _Frames(0)
        self._calls = calls

    def feed(self, data: bytes) -> Iterator[Piece]:
        """The complete frames of what has arrived."""
        for frame in self._frames.feed(data):
            ends = frame.kind in (_DATA, _HEADERS) and bool(frame.flags & _END_STREAM)
            call = self._calls.pop(frame.stream, None) if ends else None
            yield Piece(frame.data, call.name if call else None, frame.stream)


@dataclass(frozen=True)
class _Frame:
    data: bytes
    kind: int = -1
    flags: int = 0
    stream: int = 0

    @property
    def content(self) -> bytes:
        """What it carries, without padding and priority (RFC 9113, 6.1 and 6.2)."""
        content = self.data[9:]
        if self.kind in (_DATA, _HEADERS) and self.flags & _PADDED:
            content = content[1 : len(content) - content[0]]
        if self.kind == _HEADERS and self.flags & _PRIORITY:
            content = content[5:]
        return content


class _Frames:
    """HTTP/2 frames out of a byte stream that begins with a preface of so many bytes."""

    def __init__(self, preface: int) -> None:
        self._buffer = b""
        self._preface = preface

    def feed(self, data: bytes) -> Iterator[_Frame]:
        self._buffer += data
        if self._preface:
            if len(self._buffer) < self._preface:
                return
            start, self._buffer = self._buffer[: self._preface], self._buffer[self._preface :]
            self._preface = 0
            yield _Frame(start)
        while len(self._buffer) >= 9:
            length = int.from_bytes(self._buffer[:3], "big")
            if len(self._buffer) < 9 + length:
                return
            frame, self._buffer = self._buffer[: 9 + length], self._buffer[9 + length :]
            yield _Frame(frame, frame[3], frame[4], int.from_bytes(frame[5:9], "big") & 0x7FFFFFFF)


def _frame(kind: int, flags: int, stream: int, content: bytes) -> bytes:
    return len(content).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + content


def refuse(stream: int) -> bytes:
    """RST_STREAM with REFUSED_STREAM: what a server says that takes no call now (RFC 9113, 6.4 and 7)."""
    return _frame(_RESET, 0, stream, (7).to_bytes(4, "big"))
