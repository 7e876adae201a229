"""The tables of a database, as far as it matters for filling them: what a row must be like."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from remit.migrations.rehearse.server import Connection

_SYSTEM = "n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND n.nspname NOT LIKE 'pg\\_temp%%'"


@dataclass(frozen=True)
class Column:
    """A column.

    Args:
        type: as it is written, for instance `character varying(20)`.
        base: the name of its type without length, a domain resolved, for instance `varchar`.
        kind: PostgreSQL's `typtype` of the base: b(ase), c(omposite), e(num), r(ange), m(ultirange).
        element: the base name of an array's elements, None for anything else.
        length: the greatest number of characters, None where there is none.
        default: its expression.
        generated: computed by the database, so that no value may be given.
        domain_checks: the conditions of its domain on `value`.
        fields: of a composite type, each with its type as it is written and the name of its base.
    """

    name: str
    type: str
    base: str
    kind: str
    element: str | None
    length: int | None
    precision: tuple[int, int] | None
    not_null: bool
    default: str | None
    identity: bool
    generated: bool
    labels: tuple[str, ...] = ()
    domain_checks: tuple["Check", ...] = ()
    fields: tuple[tuple[str, str], ...] = ()

    @property
    def numbers_itself(self) -> bool:
        """Whether the database gives each row another value."""
        makers = ("nextval(", "gen_random_uuid(", "uuid_generate_v", "uuidv7(", "uuidv4(")
        return self.identity or any(maker in (self.default or "") for maker in makers)


@dataclass(frozen=True)
class Check:
    """A condition that each row must not make false."""

    name: str
    expression: str


@dataclass(frozen=True)
class ForeignKey:
    """Columns that hold the key of a row of another table; `is_there` unless it is only to be made."""

    name: str
    columns: tuple[str, ...]
    target: int
    target_columns: tuple[str, ...]
    definition: str
    is_there: bool = True


@dataclass(frozen=True)
class Table:
    """A table.

    Args:
        sql: its name for statements, quoted; `name` for people, without `public`.
        unique: the columns of each unique or exclusion constraint and index.
        partitions: what the rows of its partitions must be like, for a partitioned table.
        triggers: the user's own, with their functions.
    """

    oid: int
    name: str
    sql: str
    columns: Mapping[str, Column]
    primary_key: tuple[str, ...] = ()
    unique: tuple[tuple[str, ...], ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    checks: tuple[Check, ...] = ()
    triggers: tuple[str, ...] = ()
    partitioned: bool = False
    partitions: tuple[str, ...] = field(default=())

    @property
    def conditions(self) -> list[Check]:
        """Its checks, with those of its partitions as one."""
        if not self.partitions:
            return list(self.checks)
        return [
            *self.checks,
            Check(f"the partitions of {self.name}", " OR ".join(f"({part})" for part in self.partitions)),
        ]


def list_relations(connection: Connection) -> dict[int, str]:
    """The names of tables, indexes and materialized views that are not the system's, by oid."""
    rows = connection.execute(
        "SELECT c.oid::bigint, CASE n.nspname WHEN 'public' THEN c.relname ELSE n.nspname || '.' || c.relname END "
        f"FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {_SYSTEM} "
        "AND c.relkind IN ('r', 'p', 'i', 'I', 'm', 'v', 'f')".replace("%%", "%").encode()
    )
    return dict(rows)


def find_roots(connection: Connection, oids: Iterable[int]) -> set[int]:
    """The tables to fill for some relations: an index stands for its table, a partition for the whole."""
    rows = connection.execute(
        "SELECT coalesce((SELECT root.oid FROM pg_partition_root(c.oid) AS root(oid)), c.oid)::bigint "
        "FROM (SELECT coalesce(i.indrelid, c.oid) AS oid FROM pg_class c LEFT JOIN pg_index i ON i.indexrelid = c.oid "
        "WHERE c.oid = ANY(%s)) AS found JOIN pg_class c ON c.oid = found.oid WHERE c.relkind IN ('r', 'p')",
        [list(oids)],
    )
    return {oid for (oid,) in rows}


def read_tables(connection: Connection, oids: Iterable[int]) -> dict[int, Table]:
    """The tables of some oids and, in turn, those that they refer to."""
    found: dict[int, Table] = {}
    wanted = set(oids)
    while wanted:
        for oid in wanted:
            found[oid] = _read_table(connection, oid)
        wanted = {key.target for table in found.values() for key in table.foreign_keys} - found.keys()
    return found


def _read_table(connection: Connection, oid: int) -> Table:
    def ask(question: str) -> list[tuple[Any, ...]]:
        return connection.execute(question.encode(), {"oid": oid}).fetchall()

    [(name, sql, partitioned)] = ask(
        "SELECT CASE n.nspname WHEN 'public' THEN c.relname ELSE n.nspname || '.' || c.relname END, "
        "format('%%I.%%I', n.nspname, c.relname), c.relkind = 'p' "
        "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = %(oid)s"
    )
    keys = ask(
        "SELECT conname, (SELECT array_agg(a.attname ORDER BY k.n) FROM unnest(conkey) WITH ORDINALITY AS k(number, n) "
        "JOIN pg_attribute a ON a.attrelid = conrelid AND a.attnum = k.number), confrelid::bigint, "
        "(SELECT array_agg(a.attname ORDER BY k.n) FROM unnest(confkey) WITH ORDINALITY AS k(number, n) "
        "JOIN pg_attribute a ON a.attrelid = confrelid AND a.attnum = k.number), pg_get_constraintdef(oid) "
        "FROM pg_constraint WHERE conrelid = %(oid)s AND contype = 'f' AND conparentid = 0 ORDER BY conname"
    )
    uniques = ask(
        "SELECT i.indisprimary, (SELECT array_agg(a.attname ORDER BY k.n) FROM unnest(i.indkey[0:i.indnkeyatts - 1]) "
        "WITH ORDINALITY AS k(number, n) JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number), "
        "(SELECT array_agg(DISTINCT a.attname) FROM pg_depend d JOIN pg_attribute a "
        "ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid "
        "WHERE d.objid = i.indexrelid AND d.refobjid = i.indrelid AND d.refobjsubid > 0) "
        "FROM pg_index i WHERE i.indrelid = %(oid)s AND (i.indisunique OR i.indisexclusion)"
    )
    return Table(
        oid,
        name,
        sql,
        _read_columns(ask),
        next((tuple(columns) for primary, columns, _ in uniques if primary), ()),
        # An index over an expression has the columns that it depends on.
        tuple(tuple(columns or used or ()) for _, columns, used in uniques),
        tuple(ForeignKey(name, tuple(own), target, tuple(others), text) for name, own, target, others, text in keys),
        tuple(
            Check(*row)
            for row in ask(
                "SELECT conname, pg_get_expr(conbin, conrelid) FROM pg_constraint "
                "WHERE conrelid = %(oid)s AND contype = 'c' ORDER BY conname"
            )
        ),
        tuple(
            text
            for (text,) in ask(
                "SELECT format('%%s (function %%s)', tgname, tgfoid::regproc) FROM pg_trigger "
                "WHERE tgrelid = %(oid)s AND NOT tgisinternal AND tgtype & 4 > 0 AND tgenabled <> 'D' ORDER BY tgname"
            )
        ),
        partitioned,
        tuple(
            text
            for (text,) in ask(
                "SELECT pg_get_partition_constraintdef(tree.relid) "
                "FROM pg_partition_tree(%(oid)s::oid::regclass) AS tree "
                "JOIN pg_class c ON c.oid = tree.relid WHERE tree.isleaf AND tree.level > 0 "
                "AND NOT EXISTS (SELECT FROM pg_partitioned_table WHERE partrelid = %(oid)s AND partstrat = 'h')"
            )
            if text
        ),
    )


def _read_columns(ask: Any) -> dict[str, Column]:
    rows = ask(
        "WITH RECURSIVE base AS ("
        "SELECT a.attnum, t.oid AS type, t.typtype, t.typbasetype, a.atttypmod AS typmod, a.attnotnull AS not_null, "
        "ARRAY[]::oid[] AS domains FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid "
        "WHERE a.attrelid = %(oid)s AND a.attnum > 0 AND NOT a.attisdropped "
        "UNION ALL SELECT b.attnum, t.oid, t.typtype, t.typbasetype, "
        "CASE WHEN d.typtypmod >= 0 THEN d.typtypmod ELSE b.typmod END, b.not_null OR d.typnotnull, b.domains || d.oid "
        "FROM base b JOIN pg_type d ON d.oid = b.type JOIN pg_type t ON t.oid = d.typbasetype WHERE b.typtype = 'd') "
        "SELECT a.attname, format_type(a.atttypid, a.atttypmod), t.typname, t.typtype::text, "
        "(SELECT e.typname FROM pg_type e WHERE e.oid = t.typelem AND t.typcategory = 'A'), b.typmod, b.not_null, "
        "(SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE adrelid = a.attrelid AND adnum = a.attnum), "
        "a.attidentity <> '', a.attgenerated <> '', "
        "ARRAY(SELECT enumlabel::text FROM pg_enum WHERE enumtypid = t.oid ORDER BY enumsortorder), "
        "ARRAY(SELECT conname || chr(10) || pg_get_expr(conbin, 0) FROM pg_constraint "
        "WHERE contypid = ANY(b.domains) AND contype = 'c'), "
        "(SELECT json_agg(json_build_array(format_type(f.atttypid, f.atttypmod), ft.typname) ORDER BY f.attnum) "
        "FROM pg_attribute f JOIN pg_type ft ON ft.oid = f.atttypid "
        "WHERE t.typtype = 'c' AND f.attrelid = t.typrelid AND f.attnum > 0 AND NOT f.attisdropped) "
        "FROM base b JOIN pg_attribute a ON a.attrelid = %(oid)s AND a.attnum = b.attnum "
        "JOIN pg_type t ON t.oid = b.type "
        "WHERE b.typtype <> 'd' ORDER BY a.attnum"
    )
    found = {}
    for (
        name,
        type_,
        base,
        kind,
        element,
        typmod,
        not_null,
        default,
        identity,
        generated,
        labels,
        checks,
        fields,
    ) in rows:
        sized = base in ("varchar", "bpchar", "bit", "varbit") and typmod >= 0
        length = (typmod if base in ("bit", "varbit") else typmod - 4) if sized else None
        numeric = ((typmod - 4) >> 16, (typmod - 4) & 0x7FF) if base == "numeric" and typmod >= 0 else None
        conditions = tuple(Check(*text.split("\n", 1)) for text in checks)
        found[name] = Column(
            name, type_, base, kind, element, length, numeric, not_null, None if generated else default, identity,
            generated, tuple(labels), conditions, tuple((type_, base) for type_, base in fields or ()),
        )  # fmt: skip
    return found
