"""A drawing of a revision over time, as SVG: its statements above, what the probes waited below."""

import math
from html import escape

from remit.migrations.rehearse.model import RevisionReport
from remit.migrations.rehearse.timeline import Timeline, make_timeline
from remit.migrations.rehearse.verdict import shorten, show_ms

_WIDTH, _LEFT, _END = 960, 90, 940
_ROW, _PLOT = 18, 170
_SLICES = 400
_CHARACTER, _ROOM_FOR_TIME = 6.8, 15
_MOST_ROWS = 20
_COLOURS = {"readers": "#2e90fa", "writers": "#f79009", "unrelated reader": "#98a2b3"}


def draw(revision: RevisionReport, limit_ms: float) -> str:
    """The drawing; nothing where nothing was measured."""
    timeline = make_timeline(revision, _SLICES)
    if timeline is None:
        return ""
    bars = _draw_statements(revision, timeline)
    top = 20 + _ROW * len(bars)
    height = top + _PLOT + 50
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="Statements and waits over time" '
        'font-family="system-ui, sans-serif" font-size="11">'
        + "".join(bars)
        + _draw_axes(timeline, top, limit_ms)
        + "".join(_draw_series(timeline, index, top, limit_ms) for index in reversed(range(len(timeline.series))))
        + _draw_legend(timeline, height)
        + "</svg>"
    )


def _x(timeline: Timeline, at_ms: float) -> float:
    share = (at_ms - timeline.start_ms) / (timeline.end_ms - timeline.start_ms)
    return _LEFT + share * (_END - _LEFT)


def _y(value: float, top: float, scale: float) -> float:
    return top + _PLOT * (1 - min(math.log1p(value) / math.log1p(scale), 1.0))


def _find_scale(timeline: Timeline, limit_ms: float) -> float:
    return max(limit_ms * 1.3, *(max(series.values) for series in timeline.series))


def _draw_statements(revision: RevisionReport, timeline: Timeline) -> list[str]:
    numbered = list(enumerate(revision.statements, 1))
    longest = sorted(numbered, key=lambda item: -item[1].duration_ms)[:_MOST_ROWS]
    found = []
    for row, (number, statement) in enumerate(sorted(longest, key=lambda item: item[0])):
        y = 10 + row * _ROW
        start = _x(timeline, statement.started_ms)
        width = max(_x(timeline, statement.started_ms + statement.duration_ms) - start, 2)
        right = start + width + 6
        anchor, place = ("start", right) if right < _WIDTH * 0.55 else ("end", start - 6)
        if right >= _WIDTH * 0.55 and start < _WIDTH * 0.55:
            anchor, place = "start", start + 6
        room = int((_WIDTH - place if anchor == "start" else place) / _CHARACTER) - _ROOM_FOR_TIME
        text = escape(f"{number}: {shorten(statement.sql, max(room, 10))} ({show_ms(statement.duration_ms)})")
        found.append(
            f'<rect x="{start:.1f}" y="{y}" width="{width:.1f}" height="{_ROW - 5}" rx="2" fill="#7f56d9" '
            'opacity=".45"/>'
            f'<text x="{place:.1f}" y="{y + 10}" text-anchor="{anchor}" fill="currentColor">{text}</text>'
        )
    return found


def _draw_axes(timeline: Timeline, top: float, limit_ms: float) -> str:
    scale = _find_scale(timeline, limit_ms)
    found = []
    for value in (1, 10, 100, 1000, 10_000, 100_000):
        if value < scale:
            y = _y(value, top, scale)
            found.append(
                f'<line x1="{_LEFT}" x2="{_END}" y1="{y:.1f}" y2="{y:.1f}" stroke="currentColor" opacity=".12"/>'
                f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" fill="currentColor">{show_ms(value)}</text>'
            )
    y = _y(limit_ms, top, scale)
    found.append(
        f'<line x1="{_LEFT}" x2="{_END}" y1="{y:.1f}" y2="{y:.1f}" stroke="#d92d20" stroke-dasharray="5 4"/>'
        f'<text x="{_END}" y="{y - 4:.1f}" text-anchor="end" fill="#d92d20">allowed: {show_ms(limit_ms)}</text>'
    )
    base = top + _PLOT
    for share in range(6):
        at = timeline.start_ms + (timeline.end_ms - timeline.start_ms) * share / 5
        x = _x(timeline, at)
        found.append(
            f'<text x="{x:.1f}" y="{base + 16}" text-anchor="middle" fill="currentColor">{"-" if at < 0 else ""}'
            f"{show_ms(abs(at))}</text>"
        )
    return "".join(found)


def _draw_series(timeline: Timeline, index: int, top: float, limit_ms: float) -> str:
    series, scale = timeline.series[index], _find_scale(timeline, limit_ms)
    step = (_END - _LEFT) / len(series.values)
    points = " ".join(
        f"{_LEFT + (number + 0.5) * step:.1f},{_y(value, top, scale):.1f}" for number, value in enumerate(series.values)
    )
    return f'<polyline points="{points}" fill="none" stroke="{_COLOURS[series.name]}" stroke-width="1.6"/>'


def _draw_legend(timeline: Timeline, height: float) -> str:
    found = []
    for number, series in enumerate(timeline.series):
        x = _LEFT + number * 170
        found.append(
            f'<rect x="{x}" y="{height - 18}" width="14" height="4" fill="{_COLOURS[series.name]}"/>'
            f'<text x="{x + 20}" y="{height - 12}" fill="currentColor">{series.name}, longest wait</text>'
        )
    return "".join(found)
