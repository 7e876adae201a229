"""Ids of other servers' resources in the graph.

Their rows are not ours and their ids are theirs to choose, so an id counts within the account that registered it: the
graph holds `<account>/<id>`. Two accounts cannot meet in one id, and none can name a resource of Remit's own, whose ids
are plain UUIDs.
"""

import re

from remit.authz.model import Resource

_LONGEST = 980  # SpiceDB takes 1,024 characters, of which 37 are the account's
_OTHER = re.compile(rb"[^A-Za-z0-9_-]")
_ENCODED = re.compile(r"=([0-9A-F]{2})")


def to_resource(account_id: str, type: str, selector: str) -> Resource | None:
    """The graph's name of a caller's resource.

    Args:
        account_id: the account of the principal that asks.
        type: a type of the contract.
        selector: the caller's id; any text.

    Returns:
        None for an id that nothing can be registered under: empty, `*`, or too long.
    """
    if not selector or selector == "*":
        return None
    encoded = _OTHER.sub(lambda match: b"=%02X" % match[0][0], selector.encode()).decode()
    return Resource(type, f"{account_id}/{encoded}") if len(encoded) <= _LONGEST else None


def to_selector(account_id: str, id: str) -> str | None:
    """The caller's id of a resource of the graph, None if it is not one of this account's."""
    account, _, encoded = id.partition("/")
    if account != account_id or not encoded:
        return None
    return _ENCODED.sub(lambda match: chr(int(match[1], 16)), encoded).encode("latin-1").decode()
