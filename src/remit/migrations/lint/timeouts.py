"""Which time limits are in effect: SET, SET LOCAL, RESET and the end of a transaction, as PostgreSQL does it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from remit.migrations.lint.model import Node, Statement
from remit.migrations.lint.parse import walk
from remit.migrations.lint.statements import TIMEOUTS, read_set

_UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "min": 60_000.0, "h": 3_600_000.0, "d": 86_400_000.0}


@dataclass(frozen=True)
class TimeLimits:
    """The limits of a session at one moment, in milliseconds; 0 is none.

    Args:
        initial: what the session began with, to which RESET goes back.
        session: set for the session.
        local: set for the transaction.
        transaction: the one that `local` belongs to.
        revision: the one that runs.
        set_here: the limits that this revision set at any time.
    """

    initial: Mapping[str, float] = field(default_factory=dict)
    session: Mapping[str, float] = field(default_factory=dict)
    local: Mapping[str, float] = field(default_factory=dict)
    transaction: int | None = None
    revision: str = ""
    set_here: frozenset[str] = frozenset()

    @classmethod
    def of_session(cls, timeouts: Mapping[str, str]) -> "TimeLimits":
        """The limits that env.py sets."""
        initial = {name: parse_duration(value) for name, value in timeouts.items()}
        return cls(initial, initial)

    def get(self, name: str) -> float:
        """A limit in effect, in milliseconds."""
        return self.local.get(name, self.session.get(name, 0.0))

    def enter(self, statement: Statement) -> "TimeLimits":
        """The limits in the statement's transaction: those of an ended one are gone."""
        entered = self
        if statement.revision != self.revision:
            entered = replace(entered, revision=statement.revision, set_here=frozenset())
        if statement.transaction != self.transaction or statement.transaction is None:
            entered = replace(entered, transaction=statement.transaction, local={})
        return entered

    def apply(self, statement: Statement) -> "TimeLimits":
        """The limits after a statement."""
        limits = self
        for name, value, local in _read_changes(statement.kind, statement.body):
            if local:
                limits = replace(limits, local={**limits.local, name: value})
            else:
                fresh = limits.initial.get(name, 0.0) if value < 0 else value
                remaining = {key: kept for key, kept in limits.local.items() if key != name}
                limits = replace(limits, session={**limits.session, name: fresh}, local=remaining)
            if value > 0:
                limits = replace(limits, set_here=limits.set_here | {name})
        return limits


def _read_changes(kind: str, body: Node) -> list[tuple[str, float, bool]]:
    """The changes of limits: name, milliseconds (-1 goes back to the session's first), for the transaction only."""
    if kind == "variable_set_stmt":
        if body["kind"] == "VAR_RESET_ALL":
            return [(name, -1.0, False) for name in TIMEOUTS]
        if body["kind"] in ("VAR_RESET", "VAR_SET_DEFAULT") and body["name"] in TIMEOUTS:
            return [(body["name"], -1.0, False)]
        local = bool(body.get("is_local"))
        found = read_set(kind, dict(body)).items()
        return [(name, parse_duration(value), local) for name, value in found if name in TIMEOUTS]
    if kind == "discard_stmt":
        return [(name, -1.0, False) for name in TIMEOUTS]
    if kind == "select_stmt":
        calls = [node for key, node in walk(dict(body)) if key == "func_call"]
        return [change for call in calls for change in _read_set_config(call)]
    return []


def _read_set_config(call: Node) -> list[tuple[str, float, bool]]:
    arguments = [item.get("a_const", {}) for item in call.get("args", ())]
    if call["funcname"][-1]["string"]["sval"] != "set_config" or len(arguments) != 3:
        return []
    name, value = (item.get("sval", {}).get("sval", "") for item in arguments[:2])
    local = bool(arguments[2].get("boolval", {}).get("boolval"))
    return [(name, parse_duration(value), local)] if name in TIMEOUTS else []


def parse_duration(text: str) -> float:
    """A duration as PostgreSQL writes it, in milliseconds; 1.0 for one that cannot be read, which is some limit."""
    stripped = text.strip().strip("'").lower()
    digits = stripped.rstrip("abcdefghijklmnopqrstuvwxyz ")
    unit = stripped[len(digits) :].strip() or "ms"
    try:
        return float(digits) * _UNITS[unit]
    except (ValueError, KeyError):
        return 1.0
