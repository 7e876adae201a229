"""The stream of a task as a reader of its frames sees it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from support.graph import Json, Party

WAIT_SECONDS = 20


class Frames:
    """The frames of a stream; `next` gives the next one that is not a keep-alive."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.pings = 0
        self.ids: list[int] = []
        self._lines = response.aiter_lines()

    async def next(self) -> Json | None:
        """The next event, None at the end of the stream."""
        async with asyncio.timeout(WAIT_SECONDS):
            async for line in self._lines:
                if line.startswith("data: "):
                    event: Json = json.loads(line[6:])
                    return event
                if line.startswith(":"):
                    self.pings += 1
                elif line.startswith("id: "):
                    self.ids.append(int(line[4:]))
                else:
                    assert line == "", line
        return None

    async def rest(self) -> list[Json]:
        """All events until the stream ends."""
        events = []
        async with asyncio.timeout(WAIT_SECONDS):
            while (event := await self.next()) is not None:
                events.append(event)
        return events


@asynccontextmanager
async def open_stream(party: Party, path: str, **headers: str) -> AsyncIterator[Frames]:
    async with party.http.stream("GET", path, headers={**party.headers, **headers}) as response:
        assert response.status_code == 200, await response.aread()
        yield Frames(response)


def kind(event: Json | None) -> str:
    assert event is not None, "the stream ended"
    return str(event["type"])
