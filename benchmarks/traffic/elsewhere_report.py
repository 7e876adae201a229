"""The page and the plot of `scripts/bench elsewhere`."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from traffic.results import share_of

# A case, and the one of the same round that it is compared with.
AGAINST = {
    "create, off": "create, off",
    "create, embedded": "create, off",
    "create, SpiceDB": "create, embedded",
    "get, off": "get, off",
    "get, embedded": "get, off",
    "get, SpiceDB": "get, embedded",
    "get, SpiceDB, a change pending": "get, SpiceDB",
    "get, roles decide": "get, roles decide",
    "get, roles decide, shadow": "get, roles decide",
    "check of the provider": "get, embedded",
}
_HEAD = ["| compared | p50 ms | p95 ms | p99 ms | requests |", "| --- | --- | --- | --- | ---: |"]


def percentile(values: Sequence[float], share: float) -> float:
    """A percentile of values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def write_page(found: Mapping[str, Any], notes: str) -> str:
    """The page, in Markdown."""
    lines = ["# What an engine elsewhere costs", "", notes, ""]
    if "requests" in found:
        lines += _about_requests(found["requests"])
    if "shadow" in found:
        lines += _about_shadow(found["shadow"])
    if "reconcile" in found:
        lines += _about_rows(found)
    if "beside" in found:
        lines += _about_rows_beside_spicedb(found)
    return "\n".join(lines)


def _about_requests(requests: Mapping[str, Mapping[str, Sequence[float]]]) -> list[str]:
    lines = [
        "SpiceDB is its library behind a host written in Python: its part of each figure is an upper bound.",
        "",
        "| request | requests/s | compared with | share | p50 ms | p95 ms | p95 of rounds: middle, low to high |",
        "| --- | ---: | --- | ---: | ---: | ---: | ---: |",
    ]
    times = {name: [percentile(one["latencies"], share) for share in (0.5, 0.95)] for name, one in requests.items()}
    for name, one in requests.items():
        other = requests[AGAINST[name]]
        ratio = statistics.median(share_of(one["rates"], other["rates"]))
        p95 = one["p95"]
        lines.append(
            f"| {name} | {statistics.median(one['rates']):,.0f} | {AGAINST[name]} | {ratio:.2f} |"
            f" {times[name][0]:.1f} | {times[name][1]:.1f} |"
            f" {statistics.median(p95):.1f}, {min(p95):.1f} to {max(p95):.1f} |"
        )
    pending, plain = times["get, SpiceDB, a change pending"], times["get, SpiceDB"]
    overlay = (
        "- **Overlay**: a resource with a change that waits is answered in the same statement: p50 "
        f"{pending[0]:.1f} ms beside {plain[0]:.1f} ms. A grant that waits needs no call. That it is one statement, "
        "and one call at most, is held by a test that counts them."
    )
    return [*lines, "", overlay, "", "![Requests a second](elsewhere.svg)", ""]


def _compare(label: str, values: Sequence[float], others: Sequence[float]) -> str:
    """A line of a table: percentiles of two series in milliseconds, and how much more the first one has."""
    told = " | ".join(
        f"{one:.2f}, {other:.2f} ({one / other - 1:+.0%})".replace("%", " %")
        for share in (0.5, 0.95, 0.99)
        for one, other in [(percentile(values, share), percentile(others, share))]
    )
    return f"| {label} | {told} | {len(values) + len(others):,} |"


def _compare_in_turns(label: str, found: Mapping[str, Sequence[float]]) -> list[str]:
    """What something adds, and what two series differ in that are of the same."""
    return [
        _compare(f"{label}, without", found["with"], [*found["without"], *found["again"]]),
        _compare("without, without", found["without"], found["again"]),
    ]


def _about_shadow(shadow: Mapping[int, Mapping[str, Sequence[float]]]) -> list[str]:
    told = (
        "The same request with comparisons, without, and without again, embedded engine, three servers of which "
        "two are stopped, in turn. The second line of each pair is what the same differs in from itself."
    )
    lines = ["## Shadow", "", told, "", *_HEAD]
    for in_flight, one in shadow.items():
        lines += _compare_in_turns(f"{in_flight} at once: shadow", one)
    return [*lines, ""]


def _about_rows(found: Mapping[str, Any]) -> list[str]:
    rows, backfilled = found["rows"], found["backfilled"]
    lines = [
        f"## {rows:,} tasks",
        "",
        "| what | rows/s | seconds | memory MiB: after a tenth, at the end |",
        "| --- | ---: | ---: | ---: |",
    ]
    for label, key in (
        (f"backfill, {backfilled:,} of them unregistered", "backfill"),
        ("reconcile, clean", "reconcile"),
    ):
        one = found[key]
        sizes = one["memory"] or [0.0]
        lines.append(
            f"| {label} | {rows / one['seconds']:,.0f} | {one['seconds']:.0f} |"
            f" {sizes[len(sizes) // 10]:.0f}, {sizes[-1]:.0f} |"
        )
    told = (
        "These ran without a limit of their own. A request beside one at the default rate, and one while it is "
        "stopped, in turn; wanted at p50 and p95 are 5 % at most. The second line of each pair is what the same "
        "differs in from itself."
    )
    lines += ["", told, "", *_HEAD]
    for command, one in found["latency"].items():
        lines += _compare_in_turns(f"beside {command}", one)
    return [*lines, ""]


def _about_rows_beside_spicedb(found: Mapping[str, Any]) -> list[str]:
    rows, backfilled, of = found["beside_rows"], found["beside_backfilled"], found["beside"]
    lines = [
        "## With SpiceDB",
        "",
        f"Beside a SpiceDB that keeps {rows:,} tasks in PostgreSQL on the same two cores, without a limit:",
        "",
        "| what | rows/s | seconds | memory MiB: after a tenth, at the end |",
        "| --- | ---: | ---: | ---: |",
    ]
    for label, key, count in (
        ("reconcile, clean", "reconcile", rows),
        (f"backfill of {backfilled:,} more, in a tenant of their own", "backfill", backfilled),
        ("their delivery, by one server", "delivery", backfilled),
    ):
        one = of[key]
        sizes = one["memory"]
        told = f"{sizes[len(sizes) // 10]:.0f}, {sizes[-1]:.0f}" if sizes else ""
        lines.append(f"| {label} | {count / one['seconds']:,.0f} | {one['seconds']:.0f} | {told} |")
    return [*lines, ""]


def write(folder: Path, found: Mapping[str, Any], text: str) -> None:
    """The page, and its plot as SVG and PNG."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "elsewhere.md").write_text(text)
    if requests := found.get("requests"):
        _plot(folder, requests)


def _plot(folder: Path, requests: Mapping[str, Mapping[str, Sequence[float]]]) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    names = list(requests)[::-1]
    figure, axes = plt.subplots(figsize=(9, 0.5 * len(names) + 1.2))
    middles = [statistics.median(requests[name]["rates"]) for name in names]
    spread = [
        [middle - min(requests[name]["rates"]) for name, middle in zip(names, middles, strict=True)],
        [max(requests[name]["rates"]) - middle for name, middle in zip(names, middles, strict=True)],
    ]
    colours = ["#b45309" if "SpiceDB" in name or "shadow" in name else "#1f77b4" for name in names]
    axes.barh(names, middles, xerr=spread, color=colours, ecolor="#555555", capsize=3)
    for place, middle in enumerate(middles):
        axes.text(middle * 0.02, place, f"{middle:,.0f}", va="center", color="white", fontsize=9)
    axes.set_xlabel("requests a second (middle of the rounds, lowest to highest)")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.tight_layout()
    figure.savefig(folder / "elsewhere.svg")
    figure.savefig(folder / "elsewhere.png", dpi=120)
