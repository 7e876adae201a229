"""Where the server's time goes: samples of the running process, taken by py-spy from outside, native code included."""

import asyncio
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from traffic.cases import Case
from traffic.load import Client
from traffic.results import Profile
from traffic.rounds import Site

RATE = 100
"""Looks a second; more would slow the server that is looked at."""
SHOWN = 15
WHOLE_REQUEST = 0.6
"""What is there in so much of the time is around the request, and says nothing."""

_SYSTEM_CALLS = {"write", "writev", "send", "sendto", "sendmsg", "read", "recv", "recvfrom", "recvmsg", "epoll_pwait"}
_COLLECTOR = "gc_collect_main"
_OTHER = "Python itself"
# The first pattern that matches the file of a frame names its layer; None says nothing of it: its caller decides.
_LAYERS: Sequence[tuple[str, str | None]] = (
    (r"^remit/identity/", "identity"),
    (r"^remit/authz/", "authorization"),
    (r"^remit/telemetry/|^structlog/|^logging/|^prometheus_client/|^opentelemetry/", "logging and metrics"),
    (r"^remit/agents/addresses|^remit/rpc/(client|exchange)|^httpx/|^httpcore/|^anyio/", "calling the agent"),
    (r"^remit/db/|^asyncpg/", "SQL driver"),
    (r"^pydantic|^orjson|^json/|^_json", "JSON and its validation"),
    (r"^uvicorn/|^httptools/|^h11/", "HTTP parsing and writing"),
    (r"^starlette/|^fastapi/", "routing"),
    (r"^remit/streams/", "live updates"),
    (r"^remit/", "the routes' own code"),
    (r"^uvloop/|^asyncio/|^selectors", "event loop and sockets"),
)


async def take_profile(
    site: Site, client: Client, case: Case, seconds: float, environment: Mapping[str, str]
) -> Profile:
    """Send one request over and over, and look at the server meanwhile.

    Args:
        site: where.
        client: asks.
        case: what.
        seconds: how long.
        environment: what it runs on, by name.

    Raises:
        SystemExit: py-spy may not look, and why.
    """
    await client.run(case.make, seconds=1)
    with tempfile.TemporaryDirectory(prefix="rp-") as folder:
        file = Path(folder) / "stacks"
        command = [
            str(Path(sys.executable).with_name("py-spy")),
            "record",
            "--native",
            "--pid",
            str(site.server.pid),
            "--rate",
            str(RATE),
        ]
        command += ["--duration", str(int(seconds)), "--format", "raw", "--output", str(file)]
        looking = asyncio.create_task(asyncio.to_thread(subprocess.run, command, capture_output=True, text=True))
        while not looking.done():
            await client.run(case.make, seconds=0.5)
        done = await looking
        if done.returncode or not file.exists():
            raise SystemExit(f"py-spy could not look at the server: {done.stderr.strip()[-500:]}")
        return summarize(case.name, site.tasks, file.read_text().splitlines(), environment)


def summarize(name: str, tasks: int, lines: Sequence[str], environment: Mapping[str, str]) -> Profile:
    """Add up stacks.

    Args:
        name: of the request.
        tasks: how many there were.
        lines: `outermost;…;innermost count`, as py-spy writes them.
        environment: what it ran on, by name.
    """
    layers: Counter[str] = Counter()
    in_kernel: Counter[str] = Counter()
    own: Counter[tuple[str, str]] = Counter()
    cumulative: Counter[tuple[str, str]] = Counter()
    total = 0
    for line in lines:
        stack, _, text = line.rpartition(" ")
        count, frames = int(text), [_read_frame(frame) for frame in stack.split(";")]
        total += count
        placed = [(function, file, layer) for function, file in frames if (layer := _layer_of(file))]
        function, file, layer = placed[-1] if placed else (*frames[-1], _OTHER)
        inner, inner_file = frames[-1]
        label = f"{function} ({file})"
        if any(function == _COLLECTOR for function, _ in frames):
            label, layer = _COLLECTOR, "garbage collection"
        elif inner_file.startswith("libc.so") and inner in _SYSTEM_CALLS:
            in_kernel[layer] += count
            label = f"{inner}, called by {label}"
        layers[layer] += count
        own[label, layer] += count
        for seen in {(f"{function} ({file})", layer) for function, file, layer in placed}:
            cumulative[seen] += count
    return Profile(
        name,
        tasks,
        dict(environment),
        total,
        {layer: (count / total, in_kernel[layer] / total) for layer, count in layers.most_common()},
        [(label, layer, count / total) for (label, layer), count in own.most_common(SHOWN)],
        [
            (label, layer, count / total)
            for (label, layer), count in cumulative.most_common()
            if count / total < WHOLE_REQUEST
        ][:SHOWN],
    )


def _read_frame(frame: str) -> tuple[str, str]:
    """Function and file of `function (file:line)`."""
    found = re.fullmatch(r"(.*) \((.*?)(?::\d+)?\)", frame)
    if found is None:
        return frame, ""
    # A library without symbols has addresses only.
    return "native code" if found[1].startswith("0x") else found[1], found[2]


def _layer_of(file: str) -> str | None:
    return next((layer for pattern, layer in _LAYERS if re.search(pattern, file)), None)
