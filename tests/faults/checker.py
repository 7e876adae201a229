"""Judges a history: nothing is allowed that must not be, and nobody is refused what he was just given.

A request that got no answer, or an error of the server (5xx), may have happened or not, and at any moment until it was
given up. So an allow is wrong only if nothing that began before its end can explain it, and a refusal only if a success
that had ended before its start says otherwise.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from faults.history import Entry, History, Terms

Kind = Literal["after-revocation", "creator-refused", "grantee-refused", "unauthorized-read", "unauthorized-write"]

_GRANTS = frozenset({"create", "share", "join", "key_create"})
_REVOKES = frozenset({"revoke", "leave", "delete", "key_delete"})
_REFUSALS = (401, 403, 404)
# 409: the contract has no words for the role, and nothing was given.
_NOT_GIVEN = (*_REFUSALS, 409)


@dataclass(frozen=True)
class Violation:
    """What a history must not have.

    Attributes:
        kind: which rule.
        entry: the request that breaks it.
        why: in words.
    """

    kind: Kind
    entry: Entry
    why: str

    def __str__(self) -> str:
        one = self.entry
        return f"{self.kind}: {one.who} {one.action} {one.resource} at {one.start:.3f} got {one.status}: {self.why}"


READABLE = 403


def check_history(history: History) -> list[Violation]:
    """Every violation, in the order of the requests."""
    found: list[Violation] = []
    entries = history.entries
    outages = _outages(entries)
    for entry in entries:
        # A write that is refused to a reader says that there is something to read.
        readable = entry.action == "update" and entry.status == READABLE
        if entry.action in ("read", "key_use") or readable:
            grants = list(_grants(entries, history.terms, entry))
            revokes = [one for one in entries if _revokes(one, entry, history.terms)]
            if entry.done or readable:
                found += _judge_allow(entry, grants, revokes)
            elif entry.status in _REFUSALS and not any(a <= entry.end and entry.start <= b for a, b in outages):
                found += _judge_refusal(entry, grants, revokes)
        elif entry.action == "update" and entry.done:
            found += _judge_write(entry, entries, history.terms)
    return found


def _judge_allow(entry: Entry, grants: Sequence[Entry], revokes: Sequence[Entry]) -> list[Violation]:
    possible = [grant for grant in grants if grant.start < entry.end and grant.status not in _NOT_GIVEN]
    if not possible:
        return [Violation("unauthorized-read", entry, "nobody had given it to him")]
    for grant in possible:
        ended = [one for one in revokes if one.done and one.start >= grant.end and one.end < entry.start]
        if not ended:
            return []
    last = max(one.end for one in revokes if one.done and one.end < entry.start)
    return [Violation("after-revocation", entry, f"the revocation had been acknowledged at {last:.3f}")]


def _judge_refusal(entry: Entry, grants: Sequence[Entry], revokes: Sequence[Entry]) -> list[Violation]:
    for grant in grants:
        sure = grant.done and grant.end < entry.start
        # A revocation that began before the grant had ended may have come after it.
        if sure and not any(one.start < entry.end and one.end > grant.start for one in revokes):
            own = grant.action == "create" and grant.who == entry.who
            kind: Kind = "creator-refused" if own else "grantee-refused"
            return [Violation(kind, entry, f"it was given to him at {grant.end:.3f} and not taken away")]
    return []


def _judge_write(entry: Entry, entries: Iterable[Entry], terms: Terms) -> list[Violation]:
    role = terms.roles.get(entry.who)
    by_role = role == "admin" or (terms.judge == "roles" and role == "member")
    created = any(one.action == "create" and one.who == entry.who and one.resource == entry.resource for one in entries)
    gone = any(
        one.action == "delete" and one.done and one.resource == entry.resource and one.end < entry.start
        for one in entries
    )
    if gone:
        return [Violation("unauthorized-write", entry, "it had been deleted")]
    if by_role or created:
        return []
    return [Violation("unauthorized-write", entry, "he may read it at most")]


def _grants(entries: Iterable[Entry], terms: Terms, read: Entry) -> Iterable[Entry]:
    """What may have given the reader what he reads."""
    role = terms.roles.get(read.who)
    everything = role == "admin" or (terms.judge == "roles" and role is not None)
    for one in entries:
        if one.resource != read.resource or one.action not in _GRANTS:
            continue
        own = (one.to or one.who) == read.who
        counts = one.action in ("create", "key_create") or terms.judge == "relationships"
        if (own and counts) or (one.action == "create" and everything):
            yield one


def _revokes(one: Entry, read: Entry, terms: Terms) -> bool:
    if one.action not in _REVOKES or one.resource != read.resource:
        return False
    if one.action in ("delete", "key_delete"):
        return True
    return one.to == read.who and terms.judge == "relationships"


def _outages(entries: Iterable[Entry]) -> list[tuple[float, float]]:
    """The times in which a pending revocation may have closed its resource to everybody."""
    found: list[tuple[float, float]] = []
    since: float | None = None
    for one in entries:
        if one.action == "outage":
            since = one.start
        elif one.action == "settled" and since is not None:
            found.append((since, one.start))
            since = None
    if since is not None:
        found.append((since, float("inf")))
    return found
