"""The plot beside the page."""

from pathlib import Path

from traffic.page import as_share
from traffic.results import Results

TICKS = (200, 100, 50, 20, 10, 5, 2, 1)
MET, MISSED = "#2a6f97", "#c1440e"


def write_plot(folder: Path, results: Results) -> None:
    """Write `api.png` and `api.svg`: each request's share, and what was wanted of it."""
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    mpl.rcParams["svg.hashsalt"] = "remit"
    rows = [row for row in results.rows() if row.wanted is not None][::-1]
    if not rows:
        return
    figure = Figure(figsize=(10, 0.3 * len(rows) + 1.6), layout="constrained")
    axes = figure.subplots()
    axes.barh(
        range(len(rows)), [row.ratio for row in rows], color=[MET if row.met else MISSED for row in rows], height=0.6
    )
    for place, row in enumerate(rows):
        wanted = row.wanted or 0
        axes.plot([wanted, wanted], [place - 0.42, place + 0.42], color="black", linewidth=2)
        axes.plot([min(row.ratios), max(row.ratios)], [place, place], color="black", linewidth=0.8, alpha=0.6)
        text = f"{as_share(row.ratio)} of {row.against}"
        axes.text(max(*row.ratios, wanted) * 1.06, place, text, va="center", fontsize=8)
    axes.set_yticks(range(len(rows)), [f"{row.name}, {row.tasks:,} tasks" for row in rows], fontsize=8)
    axes.set_ylim(-0.8, len(rows) - 0.2)
    axes.set_xscale("log")
    axes.set_xticks([1 / part for part in TICKS], [f"1/{part}" for part in TICKS])
    axes.minorticks_off()
    axes.set_xlim(
        left=min(min(row.ratios) for row in rows) / 1.5,
        right=max(max(*row.ratios, row.wanted or 0) for row in rows) * 3,
    )
    axes.set_xlabel("requests a second, as a share of what each is compared with; thin lines: lowest to highest round")
    marks = [Patch(color=MET), Patch(color=MISSED), Line2D([], [], color="black", linewidth=2)]
    axes.legend(marks, ["as fast as wanted", "slower than wanted", "wanted"], loc="lower right", fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(folder / "api.png", dpi=110)
    figure.savefig(folder / "api.svg", metadata={"Date": None})
