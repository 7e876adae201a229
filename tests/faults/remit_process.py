"""A process of the product, which can be killed and started again."""

import asyncio
import subprocess
import sys
from dataclasses import dataclass
from typing import IO

import httpx

START_SECONDS = 60


@dataclass
class RemitProcess:
    """`remit serve`, `remit worker` or `remit auth serve`.

    Attributes:
        arguments: of the command.
        environment: all of it.
        log: where it prints.
        url: where it answers; none for one that does not.
        process: once it is started.
    """

    arguments: list[str]
    environment: dict[str, str]
    log: IO[bytes]
    url: str = ""
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; it may be dead."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "remit", *self.arguments], env=self.environment, stdout=self.log, stderr=self.log
        )

    async def ready(self) -> None:
        """Return once it answers.

        Raises:
            RuntimeError: it ended, or does not answer in time.
        """
        if not self.url:
            return
        async with httpx.AsyncClient(trust_env=False, timeout=2) as client:
            for _ in range(START_SECONDS * 20):
                if self.process is None or self.process.poll() is not None:
                    raise RuntimeError(f"{self.arguments[0]} ended; its log says why: {self.log.name}")
                try:
                    if (await client.get(f"{self.url}/healthz")).status_code == 200:
                        return
                except httpx.HTTPError:
                    pass
                await asyncio.sleep(0.05)
        raise RuntimeError(f"{self.arguments[0]} did not answer in time; log: {self.log.name}")

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.process is not None and self.process.poll() is None

    def signal(self, number: int) -> None:
        """Send it a signal, if it runs."""
        if self.process is not None and self.alive:
            self.process.send_signal(number)

    def kill(self) -> None:
        """End it as a crash would, and wait until it is dead."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
