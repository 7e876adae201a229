"""The page of a result file, in Markdown."""

import statistics
from collections.abc import Iterator, Mapping

from traffic.profile_page import write_summary
from traffic.results import Part, Results, Row

_NOTES = (
    "Written by `scripts/bench api --output docs/benchmarks`, from `api.json` beside it. Authorization and log are on; "
    "one server process but where two are named; 16 requests in flight; client, agent, server and PostgreSQL share the "
    "cores. *Share* is requests a second as a share of the reference's, both measured in one round; the middle one of "
    "the rounds. The references are a FastAPI route in the same process that answers a constant, one that forwards its "
    "body to the agent by httpx, and the smallest insert of a row by asyncpg. Tasks are copies of one that the product "
    "made itself; rows and relationships of a sample were compared by the reconciler. Callers, tasks and cursors are "
    "drawn at random for each request."
)
_HEAD = (
    "| request | requests/s | compared with | share | wanted | | of a raw insert | p50 ms | p95 ms | CPU ms: server "
    "| CPU ms: PostgreSQL |"
)
_VERDICTS = {True: "met", False: "**missed**", None: ""}


def write_page(results: Results) -> str:
    """All parts, then where the time goes in what is slower than wanted."""
    return "\n".join(_lines(results)) + "\n"


def verdict(met: bool | None) -> str:
    """How a verdict is said."""
    return _VERDICTS[met]


def as_share(ratio: float) -> str:
    """A share of the reference's requests a second, as `1/9.0`."""
    return f"1/{1 / ratio:.1f}"


def _lines(results: Results) -> Iterator[str]:
    yield from ("# Speed of the API", "", _NOTES)
    for part in results.parts.values():
        yield from _write_part(part)
    yield from ("", "![Share of the requests a second of what it is compared with](api.svg)")
    yield from write_summary(results)
    yield from ("", "[What the figures say, and what would help](api-notes.md).")


def _write_part(part: Part) -> Iterator[str]:
    yield from ("", f"## {part.name}", "", _write_environment(part.environment))
    if part.rows:
        yield from (
            "",
            _HEAD,
            "| --- | ---: | --- | ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: |",
            *map(_write_row, part.rows),
        )
    if part.limits:
        yield from ("", "| what | measured | at most | | |", "| --- | ---: | ---: | --- | --- |")
        for limit in part.limits:
            most = "" if limit.most is None else f"{limit.most:g}"
            yield f"| {limit.name} | {limit.value:.2f} | {most} | {verdict(limit.met)} | {limit.detail} |"


def _write_row(row: Row) -> str:
    wanted = "" if row.wanted is None else f"1/{1 / row.wanted:.0f}"
    if row.aim is not None:
        wanted += f", aim 1/{1 / row.aim:.0f}"
    return (
        f"| {row.name} | {row.rate:,.0f} | {row.against} | {as_share(row.ratio)} | {wanted} | {verdict(row.met)} "
        f"| {as_share(_middle(row.inserts) or 1)} | {_number(row.p50, 1)} | {_number(row.p95, 1)} "
        f"| {_number(_middle(row.server_ms), 2)} | {_number(_middle(row.database_ms), 2)} |"
    )


def _write_environment(environment: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in environment.items()) + "."


def _middle(values: list[float]) -> float | None:
    return statistics.median(values) if values else None


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
