"""An agent process that does nothing: it answers at once, so that what is measured is the server.

A message whose text is `talk` is answered as by one that thinks while it talks: the first piece, and after a while the
rest.
"""

import asyncio
import sys
import time

import orjson
import uvloop

PIECES = 3
TALK_SECONDS = 0.25
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n"


def answer(body: bytes) -> list[bytes]:
    """What is written at once, and what a while later."""
    call = orjson.loads(body)
    if call["method"] != "message/send":
        return [_whole(orjson.dumps({"jsonrpc": "2.0", "id": call.get("id"), "result": None}))]
    # The moment of sending travels in the text; processes of one machine share the clock.
    content = {"type": "text", "author": "agent", "content": str(time.perf_counter_ns())}
    updates = [{"type": "start", "index": 0, "content": content}]
    updates += [{"type": "delta", "index": 0, "delta": {"type": "text", "text_delta": "x"}}] * PIECES
    updates.append({"type": "done", "index": 0})
    lines = [orjson.dumps({"jsonrpc": "2.0", "id": call["id"], "result": update}) + b"\n" for update in updates]
    first, *rest = [f"{len(line):x}\r\n".encode() + line + b"\r\n" for line in lines]
    parts = [_HEAD + first, b"".join(rest) + b"0\r\n\r\n"]
    return parts if call["params"]["content"]["content"] == "talk" else [b"".join(parts)]


def _whole(body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
            first, *rest = answer(await reader.readexactly(length))
            writer.write(first)
            for part in rest:
                await asyncio.sleep(TALK_SECONDS)
                writer.write(part)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def main() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
