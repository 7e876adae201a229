"""The table and the plot of a run."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from traffic.cases import Case

# What is measured beside the ratios: its name, the number made of its values, what is wanted, and how both are said.
_MORE: dict[str, tuple[Callable[[Sequence[float]], float], float, str]] = {
    "first chunk": (statistics.median, 4.0, "first chunk of a streamed answer after the agent sent it (median, ms)"),
    "workers": (lambda costs: costs[1] / costs[0], 1.1, "server CPU of a request, two processes to one"),
    "memory": (lambda sizes: sizes[1] - sizes[0], 5.0, "growth of memory over the second half of the requests (MiB)"),
}


@dataclass
class Figures:
    """What was measured of one case, a value a round.

    Attributes:
        case: the case.
        tasks: how many tasks there were.
        rates: requests a second.
        ratios: to what it is compared with, in the same round.
        latencies: all of them, in milliseconds.
        cpu: of the server, in milliseconds a request.
    """

    case: Case
    tasks: int
    rates: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        """The middle one."""
        return statistics.median(self.ratios)


def write_table(results: Sequence[Figures], more: Mapping[str, Sequence[float]], notes: str) -> str:
    """The page, in Markdown."""
    lines = [
        "# Speed of the API",
        "",
        notes,
        "",
        "| tasks there are | request | requests/s | compared with | share | wanted | p50 ms | p95 ms | server CPU ms |",
        "| ---: | --- | ---: | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for one in results:
        latencies = sorted(one.latencies)
        times = (
            f"{latencies[len(latencies) // 2]:.1f} | {latencies[len(latencies) * 95 // 100]:.1f}"
            if latencies
            else " | "
        )
        cpu = f"{statistics.median(one.cpu):.2f}" if one.cpu else ""
        lines.append(
            f"| {one.tasks:,} | {one.case.name} | {statistics.median(one.rates):,.0f} | {one.case.against} "
            f"| 1/{1 / one.ratio:.1f} | {_wanted(one)} | {times} | {cpu} |"
        )
    if more:
        lines += ["", "| besides | measured | wanted |", "| --- | ---: | ---: |"]
    for name, values in more.items():
        read, most, told = _MORE[name]
        value = read(values)
        lines.append(f"| {told} | {value:.2f} | at most {most:g}{'' if value <= most else ' (missed)'} |")
    return "\n".join(lines) + "\n"


def _wanted(one: Figures) -> str:
    if one.case.wanted is None:
        return ""
    return f"1/{1 / one.case.wanted:.0f}" + ("" if one.ratio >= one.case.wanted else " (missed)")


def write(folder: Path, results: Sequence[Figures], text: str) -> None:
    """Write the page and the plot beside it.

    Args:
        folder: where `api.md`, `api.png` and `api.svg` go.
        results: what was measured.
        text: the page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "api.md").write_text(text + "\n![Share of the requests a second of what it is compared with](api.svg)\n")
    from matplotlib.figure import Figure

    shown = [one for one in results if one.case.wanted is not None][::-1]
    figure = Figure(figsize=(9, 0.38 * len(shown) + 1.2), layout="constrained")
    axes = figure.subplots()
    colors = ["#2a6f97" if one.ratio >= (one.case.wanted or 0) else "#c1440e" for one in shown]
    axes.barh(range(len(shown)), [one.ratio for one in shown], color=colors, height=0.6)
    for place, one in enumerate(shown):
        wanted = one.case.wanted or 0
        axes.plot([wanted, wanted], [place - 0.42, place + 0.42], color="black", linewidth=2)
        axes.text(max(one.ratio, wanted) * 1.06, place, f"1/{1 / one.ratio:.1f}", va="center", fontsize=8)
    axes.set_yticks(range(len(shown)), [f"{one.case.name}\n({one.tasks:,} tasks)" for one in shown], fontsize=7)
    axes.set_xscale("log")
    axes.set_xlabel("requests a second, as a share of what it is compared with; the black line is what is wanted")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(folder / "api.png", dpi=130)
    figure.savefig(folder / "api.svg", metadata={"Date": None})
