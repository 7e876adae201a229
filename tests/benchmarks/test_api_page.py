"""The page of `scripts/bench api` says what was measured, and calls met only what is."""

from pathlib import Path

import pytest
from traffic.besides import MOST_LATE_MS, judge_late
from traffic.page import write_page
from traffic.profile import summarize
from traffic.profile_page import write_profiles
from traffic.results import Limit, Part, Results, Row, load, save, share_of
from traffic.workers import judge_workers

DOCS = Path(__file__).parents[2] / "docs" / "benchmarks"


def make_row(ratios: list[float], *, wanted: float | None = 1 / 5, name: str = "get a task") -> Row:
    return Row(name, 1_000, "a bare route", wanted, rates=[100.0] * len(ratios), ratios=ratios, inserts=[0.5])


def lines_with(page: str, text: str) -> list[str]:
    return [line for line in page.splitlines() if text in line]


def page_of(*rows: Row, limits: tuple[Limit, ...] = ()) -> str:
    return write_page(Results({"p": Part("p", {"PostgreSQL": "18.6"}, list(rows), list(limits))}))


def test_a_share_is_of_two_measurements_of_one_round() -> None:
    assert share_of([10, 30], [100, 60]) == [0.1, 0.5]
    with pytest.raises(ValueError, match="shorter"):
        share_of([10, 30], [100])


@pytest.mark.parametrize(
    ("ratios", "verdict"),
    [([0.2], "met"), ([0.1999], "**missed**"), ([0.9, 0.1, 0.1], "**missed**"), ([0.1, 0.9, 0.21], "met")],
)
def test_the_middle_round_decides(ratios: list[float], verdict: str) -> None:
    (line,) = lines_with(page_of(make_row(ratios)), "| get a task |")
    assert [cell.strip() for cell in line.split("|")][5:7] == ["1/5", verdict]


def test_nothing_is_said_of_what_nothing_is_wanted_of() -> None:
    page = page_of(make_row([0.001], wanted=None), limits=(Limit("told", 9.0),))
    assert "| met |" not in page
    assert "missed" not in page


def test_a_missed_request_is_listed_until_its_profile_is_there() -> None:
    results = Results({"p": Part("p", {}, [make_row([0.1]), make_row([0.3], name="other")])})
    assert lines_with(write_page(results), "not profiled yet") == [
        "- get a task: not profiled yet (`scripts/bench api --profile-missed`)"
    ]
    stacks = ["main (app.py:1);probe (remit/authz/guard.py:7) 4"]
    results.profiles["get a task"] = summarize("get a task", 1_000, stacks, {})
    page = write_page(results)
    assert "not profiled yet" not in page
    assert "| get a task (missed) | 100% |" in page


@pytest.mark.parametrize(("value", "met"), [(5.0, True), (5.001, False)])
def test_a_limit_may_be_reached_and_not_passed(value: float, met: bool) -> None:
    (line,) = lines_with(page_of(limits=(Limit("growth", value, 5.0, "detail"),)), "| growth |")
    assert ("| met |" in line, "| **missed** |" in line) == (met, not met)


def test_late_first_chunks_are_not_hidden_by_the_middle_one() -> None:
    middle, most = judge_late([1.0] * 94 + [MOST_LATE_MS * 2] * 6, "alone")
    assert (middle.value, middle.met) == (1.0, True)
    assert (most.value, most.met) == (MOST_LATE_MS * 2, False)


def test_two_processes_are_compared_round_by_round() -> None:
    assert judge_workers("", [1.0, 2.0, 4.0], [1.1, 2.1, 8.0], 100).met
    assert judge_workers("", [1.0, 2.0, 4.0], [1.2, 2.3, 4.0], 100).value == pytest.approx(1.15)
    assert judge_workers("", [1.0], [9.0], 100, None).met is None


def test_a_profile_adds_up_to_all_samples_and_gives_each_to_its_innermost_layer() -> None:
    profile = summarize(
        "get a task",
        1_000,
        [
            "run (uvloop/__init__.py:9);get (remit/tasks/routes.py:1);_do_execute (asyncpg/connection.py:2) 3",
            "run (uvloop/__init__.py:9);_do_execute (asyncpg/connection.py:2);x (loop.c:5);write (libc.so.6) 4",
            "run (uvloop/__init__.py:9);get (remit/tasks/routes.py:8);gc_collect_main (libpython3.11.so.1.0) 1",
            "run (uvloop/__init__.py:9);check (remit/authz/guard.py:3) 1",
            "start (libc.so.6) 1",
        ],
        {},
    )
    assert profile.samples == 10
    assert sum(share for share, _ in profile.layers.values()) == pytest.approx(1)
    assert profile.layers["SQL driver"] == (0.7, 0.4)
    assert profile.layers["authorization"] == (0.1, 0)
    assert profile.layers["garbage collection"] == (0.1, 0)
    assert ("write, called by _do_execute (asyncpg/connection.py)", "SQL driver", 0.4) in profile.own


def test_what_is_kept_gives_the_same_page(tmp_path: Path) -> None:
    row = make_row([0.2, 0.21, 0.19])
    row.latencies = [1.0, 2.0]
    results = Results({"p": Part("p", {"cores:": "2"}, [row], [Limit("growth", 1 / 3, 5.0, "so")])})
    save(tmp_path / "api.json", results)
    assert write_page(load(tmp_path / "api.json")) == write_page(results)


def test_the_page_of_the_docs_is_what_was_measured() -> None:
    results = load(DOCS / "api.json")
    assert (DOCS / "api.md").read_text() == write_page(results)
    measured = {(row.name, row.tasks) for row in results.rows() if row.met is not None}
    pages = {
        (f"{kind} page, may read {readable:,}", tasks)
        for kind in ("first", "cursor")
        for readable, tasks in ((10, 1_000), (1_000, 1_000), (10, 1_000_000), (1_000, 1_000_000), (100_000, 1_000_000))
    }
    single = {
        (name, 1_000)
        for name in (
            "task/create, sync agent", "task/create, async agent", "get a task", "POST a message",
            "POST a batch of 100", "message/send, streamed",
        )
    }  # fmt: skip
    assert measured >= pages | single
    assert len([limit for part in results.parts.values() for limit in part.limits if limit.met is not None]) == 8
    assert {row.name for row in results.missed()} <= results.profiles.keys()
    assert (DOCS / "api-profiles.md").read_text() == write_profiles(list(results.profiles.values()))
