"""The metadata of all tables, and the columns that many of them have."""

from sqlalchemy import CheckConstraint, Column, DateTime, ForeignKey, Index, MetaData, SmallInteger, Text, text
from sqlalchemy.dialects.postgresql import UUID
from sqlalchemy.types import UserDefinedType

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


class Xid8(UserDefinedType[str]):
    """PostgreSQL's 64-bit transaction id: never wraps, and with a snapshot tells commit order."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        """The type's name in SQL."""
        return "xid8"


def own_id() -> Column[object]:
    """The row's id."""
    return Column("id", UUID, primary_key=True)


def tenant() -> Column[object]:
    """Whose the row is."""
    return Column("tenant_id", UUID, ForeignKey("tenants.id"), nullable=False)


def at(name: str, *, nullable: bool = False) -> Column[object]:
    """A moment: now, unless it may be null."""
    default = None if nullable else text("now()")
    return Column(name, DateTime(timezone=True), nullable=nullable, server_default=default)


def creators(table: str) -> list[Column[object] | CheckConstraint | Index]:
    """Who made the row. No foreign key: the record outlives its subject."""
    return [
        Column("creator_user_id", UUID),
        Column("creator_service_account_id", UUID),
        Column("creator_agent_id", UUID),
        Column("authz_zedtoken", Text),
        CheckConstraint("num_nonnulls(creator_user_id, creator_service_account_id) <= 1", name="at_most_one_creator"),
        CheckConstraint(
            "creator_agent_id IS NULL OR num_nonnulls(creator_user_id, creator_service_account_id) = 0",
            name="agent_or_subject_creator",
        ),
        Index(f"ix_{table}_creator_user_id", "creator_user_id", postgresql_where=text("creator_user_id IS NOT NULL")),
        Index(
            f"ix_{table}_creator_service_account_id",
            "creator_service_account_id",
            postgresql_where=text("creator_service_account_id IS NOT NULL"),
        ),
    ]


def relationship(*, key: bool) -> list[Column[object]]:
    """A relationship but for its expiry, in codes and ids; as the table's primary key or not."""
    kinds = {
        "resource_type": SmallInteger,
        "resource_id": UUID,
        "relation": SmallInteger,
        "subject_type": SmallInteger,
        "subject_id": UUID,
    }
    no_relation = text("0") if key else None
    return [
        *(Column(name, kind, primary_key=key, nullable=False) for name, kind in kinds.items()),
        Column("subject_relation", SmallInteger, primary_key=key, nullable=False, server_default=no_relation),
    ]
