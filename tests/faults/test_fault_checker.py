"""The checker of fault runs is fed bad histories, each of which it must find, and good ones, which it must let pass."""

from pathlib import Path
from typing import Any, Literal

import pytest

from faults.adoption import judge
from faults.checker import Kind, check_history
from faults.history import Action, Entry, History, Terms, read_history

ROLES = {"alice": "member", "bob": "member", "root": "admin"}


def told(*lines: tuple[Any, ...], judge: Literal["relationships", "roles"] = "relationships") -> list[Kind]:
    """The kinds of violations in a history of (start, end, who, action, status[, to]) lines about one task."""
    history = History(Terms(judge, ROLES))
    for start, end, who, action, status, *to in lines:
        history.add(Entry(action, who, "task", start, end, status, to[0] if to else None))
    return [violation.kind for violation in check_history(history)]


CREATED = (0, 1, "alice", "create", 200)
SHARED = (2, 3, "alice", "share", 200, "bob")
REVOKED = (5, 6, "alice", "revoke", 200, "bob")


@pytest.mark.parametrize(
    ("kind", "lines"),
    [
        ("after-revocation", [CREATED, SHARED, REVOKED, (7, 8, "bob", "read", 200)]),
        ("after-revocation", [CREATED, SHARED, REVOKED, (6.1, 9, "bob", "read", 200)]),
        ("after-revocation", [CREATED, SHARED, REVOKED, (7, 8, "bob", "update", 403)]),
        ("after-revocation", [CREATED, (2, 3, "alice", "delete", 200), (4, 5, "alice", "read", 200)]),
        ("after-revocation", [CREATED, (2, 3, "alice", "delete", 200), (4, 5, "root", "read", 200)]),
        ("after-revocation", [CREATED, (2, 3, "operator", "join", 200, "bob"), (4, 5, "operator", "leave", 200, "bob"),
                              (6, 7, "bob", "read", 200)]),
        ("after-revocation", [(0, 1, "alice", "key_create", 200, "key"), (2, 3, "alice", "key_delete", 200),
                              (4, 5, "key", "key_use", 200)]),
        ("creator-refused", [CREATED, (2, 3, "alice", "read", 404)]),
        ("creator-refused", [CREATED, (2, 3, "alice", "read", 403)]),
        ("grantee-refused", [CREATED, SHARED, (4, 5, "bob", "read", 404)]),
        ("grantee-refused", [CREATED, REVOKED, (7, 8, "alice", "share", 200, "bob"), (9, 10, "bob", "read", 404)]),
        ("grantee-refused", [CREATED, (2, 3, "root", "read", 404)]),
        ("unauthorized-read", [CREATED, (2, 3, "bob", "read", 200)]),
        ("unauthorized-read", [CREATED, SHARED, (4, 5, "mallory", "read", 200)]),
        ("unauthorized-read", [CREATED, (2, 3, "bob", "read", 200), (4, 5, "alice", "share", 200, "bob")]),
        ("unauthorized-read", [CREATED, (2, 3, "alice", "share", 403, "bob"), (4, 5, "bob", "read", 200)]),
        ("unauthorized-write", [CREATED, SHARED, (4, 5, "bob", "update", 200)]),
        ("unauthorized-write", [CREATED, (2, 3, "alice", "delete", 200), (4, 5, "alice", "update", 200)]),
    ],
)  # fmt: skip
def test_each_kind_is_found(kind: Kind, lines: list[tuple[Any, ...]]) -> None:
    assert told(*lines) == [kind]


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param([CREATED, SHARED, (4, 4.5, "bob", "read", 200), REVOKED, (7, 8, "bob", "read", 404)], id="plain"),
        pytest.param([CREATED, SHARED, (4, 4.5, "bob", "update", 403), REVOKED, (7, 8, "bob", "update", 404)],
                     id="a reader's write is refused, and not hidden"),
        pytest.param([CREATED, SHARED, REVOKED, (5.5, 9, "bob", "read", 200)], id="began before the acknowledgement"),
        pytest.param([CREATED, SHARED, (5, 6, "alice", "revoke", None, "bob"), (7, 8, "bob", "read", 200)],
                     id="a revocation without an answer may not have happened"),
        pytest.param([CREATED, SHARED, (5, 6, "alice", "revoke", 503, "bob"), (7, 8, "bob", "read", 404)],
                     id="and it may have"),
        pytest.param([CREATED, (2, 3, "alice", "share", None, "bob"), (4, 5, "bob", "read", 200)],
                     id="a share without an answer may have happened"),
        pytest.param([CREATED, (2, 3, "alice", "share", None, "bob"), (4, 5, "bob", "read", 404)],
                     id="and it may not have"),
        pytest.param([CREATED, SHARED, REVOKED, (7, 8, "alice", "share", 200, "bob"), (9, 10, "bob", "read", 200)],
                     id="given again"),
        pytest.param([CREATED, SHARED, (2.5, 2.8, "bob", "read", 404)], id="refused before the share was answered"),
        pytest.param([CREATED, (2, 3, "alice", "read", 503)], id="no answer is no refusal"),
        pytest.param([CREATED, (2, 3, "alice", "delete", None), (4, 5, "alice", "read", 404)], id="perhaps deleted"),
        pytest.param([CREATED, (2, 2, "", "outage", None), (3, 4, "alice", "read", 404), (5, 5, "", "settled", None),
                      (6, 7, "alice", "read", 200)], id="closed while a revocation is an hour old"),
        pytest.param([CREATED, (2, 3, "root", "update", 200), (4, 5, "alice", "update", 200)], id="who may write"),
    ],
)  # fmt: skip
def test_a_good_history_passes(lines: list[tuple[Any, ...]]) -> None:
    assert told(*lines) == []


def test_an_outage_excuses_no_allow_and_ends() -> None:
    outage = [(2, 2, "", "outage", None), (3, 4, "mallory", "read", 200), (5, 5, "", "settled", None)]
    assert told(CREATED, *outage, (6, 7, "alice", "read", 404)) == ["unauthorized-read", "creator-refused"]


def test_where_roles_decide_members_read_and_a_share_changes_nothing() -> None:
    lines = [CREATED, SHARED, REVOKED, (7, 8, "bob", "read", 200), (7, 8, "bob", "update", 200)]
    assert told(*lines, judge="roles") == []
    assert told(*lines, (9, 10, "bob", "read", 404), judge="roles") == ["grantee-refused"]
    assert told(*lines, (9, 10, "mallory", "read", 200), judge="roles") == ["unauthorized-read"]


def test_an_adoption_is_judged_by_roles_and_then_by_relationships() -> None:
    def read(start: float, who: str, status: int) -> Entry:
        return Entry("read", who, "task", start, start + 0.5, status)

    enforced = (20.0, 21.0)
    changes = [
        Entry("share", "root", "task", 5, 6, 200, "bob"),
        Entry("revoke", "root", "task", 30, 31, 200, "bob"),
    ]
    good = [read(2, "carol", 200), read(25, "bob", 200), read(25, "carol", 404), read(32, "bob", 404)]
    # Around the switch both rules are right.
    good += [read(20.5, "carol", 404), read(20.6, "carol", 200)]
    assert judge([*changes, *good], {"task": "alice"}, enforced) == []
    bad = [read(3, "carol", 404), read(26, "carol", 200), read(27, "alice", 404), read(33, "bob", 200)]
    found = judge([*changes, *good, *bad], {"task": "alice"}, enforced)
    assert [violation.kind for violation in found] == [
        "grantee-refused", "unauthorized-read", "creator-refused", "after-revocation",
    ]  # fmt: skip


def test_a_history_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    action: Action = "create"
    history = History(Terms("roles", ROLES), tmp_path / "history.jsonl")
    history.add(Entry(action, "alice", "task", 0.5, 1.5, None))
    history.close()
    again = read_history(tmp_path / "history.jsonl")
    assert (again.terms, again.entries) == (history.terms, history.entries)
