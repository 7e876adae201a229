"""Who is calling."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

PrincipalKind = Literal["user", "service_account", "agent"]


@dataclass(frozen=True, slots=True)
class Principal:
    """One user, one service account or one agent, in one tenant. What it may is in the graph, never here.

    Attributes:
        kind: which of the three.
        id: id of the row in `subjects`, or in `agents`.
        tenant_id: the tenant.
        tenant_name: its name.
        name: what people know the principal by: the external id of a subject, the name of an agent.
        key_id: the API key that it showed, None where an identity provider or a proxy vouches for it.
        expires_at: when what it showed ends; None for API keys, whose rows know.
    """

    kind: PrincipalKind
    id: str
    tenant_id: str
    tenant_name: str
    name: str
    key_id: str | None
    expires_at: datetime | None = None

    @property
    def creator_columns(self) -> tuple[str | None, str | None, str | None]:
        """Values of `creator_user_id`, `creator_service_account_id`, `creator_agent_id` for what it creates."""
        return (
            self.id if self.kind == "user" else None,
            self.id if self.kind == "service_account" else None,
            self.id if self.kind == "agent" else None,
        )
