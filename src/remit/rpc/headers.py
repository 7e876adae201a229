"""Which headers of a caller's request an agent gets to see."""

import re
from collections.abc import Mapping

TRACING_HEADERS = frozenset({"traceparent", "tracestate", "baggage"})


# Never passed on: what the server sets itself, what names who calls, what only concerned the hop to the server.
WITHHELD_HEADERS = frozenset({"x-request-id", "x-agent-identity", "x-selected-account-id", "x-real-ip"})


WITHHELD_PREFIXES = ("x-acting-", "x-stainless-", "x-forwarded-")


# A proxy in front of the server may add a user's credential under many names (`x-auth-request-access-token`,
# `x-amzn-oidc-data`, `x-goog-iap-jwt-assertion`); a word of these in a name is enough to keep it back.
CREDENTIAL_WORDS = re.compile(
    r"(^|[-_.])(keys?|bearer|signature|cert|principal|auth|authn|authz|authorization|authentication|cookies?|credentials?|jwt|oidc|passwd|password"
    r"|secret|session|[a-z]*token)([-_.]|$)"
)


def forward_headers(inbound: Mapping[str, str]) -> dict[str, str]:
    """The headers of a caller's request that go on to the agent: `x-*` and tracing, but no credential or identity.

    Args:
        inbound: headers by name, in any case.

    Returns:
        what goes on, by lower-case name. Applied to its own result it changes nothing.
    """
    return {name.lower(): value.strip() for name, value in inbound.items() if _may_pass(name.lower(), value)}


def _may_pass(name: str, value: str) -> bool:
    if not re.fullmatch(r"[\t\x20-\x7e\x80-\xff]*", value):
        return False
    if name in TRACING_HEADERS:
        return True
    if not re.fullmatch(r"x-[a-z0-9_.-]+", name) or name in WITHHELD_HEADERS or name.startswith(WITHHELD_PREFIXES):
        return False
    return CREDENTIAL_WORDS.search(name) is None
