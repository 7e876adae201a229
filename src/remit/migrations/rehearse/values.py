"""SQL expressions that make values of a type from the number of a row, `g`."""

from collections.abc import Callable
from dataclasses import dataclass

from psycopg import sql

from remit.migrations.rehearse.catalog import Column
from remit.migrations.rehearse.statistics import ColumnStatistics

_DISTINCT = 1000
_SMALL = {"int2": 30_000}


@dataclass(frozen=True)
class Value:
    """An expression over `g`.

    Args:
        distinct: whether each row gets another value.
        fits: what to evaluate in its place where only the kind of value matters, as for a foreign key's.
    """

    sql: str
    distinct: bool = False
    fits: str | None = None

    @property
    def evaluated(self) -> str:
        """What a condition is tried with."""
        return self.fits or self.sql


NULL = Value("NULL")


def literal(text: str) -> str:
    """A text as an SQL literal."""
    return sql.Literal(text).as_string(None)


def spread(seed: int) -> str:
    """A number that looks random and is the same for the same row: 0 to 2^63 - 1."""
    return f"(hashint8extended(g, {seed}) & 9223372036854775807)"


def pick(seed: int, rows: int, statistics: ColumnStatistics | None) -> str:
    """The number of a row's value among the column's, from 0, with the frequencies of the statistics."""
    count = _DISTINCT if statistics is None else statistics.count_distinct(rows)
    number = f"({spread(seed)} % {max(count, 1)})"
    cases, sum_ = "", 0.0
    for index, frequency in enumerate(statistics.frequencies[:10] if statistics else ()):
        sum_ += frequency
        cases += f" WHEN {spread(seed + 1)} % 1000000 < {int(sum_ * 1_000_000)} THEN {index}"
    return f"(CASE{cases} ELSE {number} END)" if cases else number


def make_values(column: Column, seed: int, number: str, width: int | None = None) -> list[Value]:
    """Values for a column, the most natural first.

    Args:
        column: the column.
        seed: differs from column to column.
        number: an expression for the number of the value among those that the column has.
        width: the average width in bytes to reach.

    Returns:
        Guesses where nothing is known about the type.
    """
    if column.labels:
        labels = ", ".join(literal(label) for label in column.labels)
        return [Value(f"(ARRAY[{labels}])[(1 + {number} % {len(column.labels)})::integer]::{column.type}")]
    if column.element is not None:
        inner = Column(column.name, column.element, column.element, "b", None, None, None, True, None, False, False)
        found = make_values(inner, seed, number, width) if column.element in _MAKERS else []
        return [Value(f"ARRAY[{value.sql}]::{column.type}") for value in found[:1]] + [Value(f"'{{}}'::{column.type}")]
    if column.kind == "m":
        return [Value(f"'{{}}'::{column.type}")]
    maker = _MAKERS.get(column.base)
    if maker is None and column.fields:
        return [_make_composite(column, seed, number)]
    return maker(column, seed, number, width) if maker else _guess(column)


def _make_composite(column: Column, seed: int, number: str) -> Value:
    """A value of a composite type; a field of which nothing is known is NULL."""
    parts = []
    for type_, base in column.fields:
        inner = Column(column.name, type_, base, "b", None, None, None, False, None, False, False)
        parts.append(make_values(inner, seed, number)[0].sql if base in _MAKERS else "NULL")
    texts = ", ".join(f"({part})::{type_}" for part, (type_, _) in zip(parts, column.fields, strict=True))
    return Value(f"ROW({texts})::{column.type}")


def _guess(column: Column) -> list[Value]:
    """What a type that is not known here may accept; the database says whether it does."""
    return [Value(f"{literal(text)}::{column.type}") for text in _GUESSES]


def _make_integers(column: Column, _: int, number: str, __: int | None) -> list[Value]:
    limit = _SMALL.get(column.base)
    each = f"(g % {limit})" if limit else "g"
    return [Value(f"({number} % {limit})" if limit else number), Value(each, True)]


def _make_numerics(column: Column, _: int, number: str, __: int | None) -> list[Value]:
    if column.precision is None:
        return [Value(f"({number} / 100.0)::numeric"), Value("g::numeric", True)]
    digits, scale = column.precision
    scale = scale if scale < 1024 else 0
    limit = 10 ** min(digits, 18)
    return [
        Value(f"(({number} % {limit}) * 10::numeric ^ {-scale})::{column.type}"),
        Value(f"((g % {limit}) * 10::numeric ^ {-scale})::{column.type}", True),
    ]


def _make_floats(column: Column, *rest: object) -> list[Value]:
    return [Value(f"({rest[1]} / 7.0)::{column.base}"), Value(f"g::{column.base}", True)]


def _make_booleans(_: Column, seed: int, *__: object) -> list[Value]:
    return [Value(f"({spread(seed)} % 2 = 0)"), Value("true"), Value("false")]


def _make_texts(column: Column, _: int, number: str, width: int | None) -> list[Value]:
    room = column.length
    plain = f"{literal(column.name + ' ')} || {number}"
    if width is not None and width > len(column.name) + 6:
        plain = f"rpad({plain}, {width}, ' lorem ipsum')"
    plain = f"left({plain}, {room})" if room else f"({plain})"
    each = [
        ("'user' || g || '@example.org'", 26),
        ("'name-' || g", 15),
        ("'https://example.org/' || g", 30),
        ("md5(g::text)", 32),
        ("md5(g::text)::uuid::text", 36),
        ("'A' || g", 11),
        ("g::text", 10),
        ("'+4930' || lpad(g::text, 10, '0')", 15),
        ("lpad(to_hex(g), 6, '0')", 6),
    ]
    # A name of one's own is likelier to be looked up by than an address.
    if "mail" not in column.name:
        each[0], each[1] = each[1], each[0]
    fitting = [Value(f"({text})", True) for text, most in each if room is None or most <= room]
    if room is not None and not fitting:
        fitting = [Value(f"right(to_hex(g), {room})", True)]
    short = [Value("'a'"), Value("'A'"), Value("''"), Value("'1'")]
    return [Value(plain), *fitting, *short]


def _make_uuids(column: Column, seed: int, number: str, _: int | None) -> list[Value]:
    return [
        Value(f"md5({seed}::text || ' ' || {number})::uuid"),
        # In the order of their making, as keys of version 7 are.
        Value(f"(lpad(to_hex(g), 12, '0') || '7{seed % 4096:03x}8' || left(md5(g::text), 15))::uuid", True),
        Value(f"md5({literal(column.name)} || g)::uuid", True),
    ]


def _make_times(start: str, unit: str) -> Callable[[Column, int, str, int | None], list[Value]]:
    def make(column: Column, _: int, number: str, __: int | None) -> list[Value]:
        cast = f"::{column.type}"
        moment = f"({start} + g * interval '1 {unit}'){cast}"
        later, earlier = (f"({start} + g * interval '1 {unit}' {sign} interval '1 day'){cast}" for sign in ("+", "-"))
        return [
            Value(f"({start} + ({number} % 30000000) * interval '1 {unit}'){cast}"),
            Value(moment, True),
            Value(later, True),
            Value(earlier, True),
            Value(f"(now() - interval '1 day'){cast}"),
            Value(f"(now() + interval '1 day'){cast}"),
        ]

    return make


def _make_dates(*_: object) -> list[Value]:
    return [
        Value(f"(date '2020-01-01' + ({_[2]} % 2000)::integer)"),
        Value("(date '2000-01-01' + (g % 2000000)::integer)", True),
        Value("(date '2000-01-01' + (g % 2000000)::integer + 1)", True),
        Value("(date '2000-01-01' + (g % 2000000)::integer - 1)", True),
        Value("current_date - 1"),
        Value("current_date + 1"),
    ]


def _make_json(column: Column, _: int, number: str, width: int | None) -> list[Value]:
    pad = f", 'pad', repeat('x', {width - 20})" if width is not None and width > 30 else ""
    build = "jsonb_build_object" if column.base == "jsonb" else "json_build_object"
    return [
        Value(f"{build}('n', {number}{pad})"),
        Value(f"{build}('n', g)", True),
        *(Value(f"'{text}'::{column.base}") for text in ("{}", "[]", '"a"', "1", "true")),
    ]


def _make_bytes(_: Column, __: int, number: str, width: int | None) -> list[Value]:
    pad = f" || decode(repeat('00', {width - 32}), 'hex')" if width is not None and width > 32 else ""
    return [
        Value(f"(sha256(int8send({number})){pad})"),
        Value("sha256(int8send(g))", True),
        Value("decode(md5(g::text), 'hex')", True),
        Value("int8send(g)", True),
        Value("''::bytea"),
    ]


def _make_ranges(low: str, high: str) -> Callable[[Column, int, str, int | None], list[Value]]:
    def make(column: Column, *_: object) -> list[Value]:
        return [Value(f"{column.base}({low}, {high})", True), Value(f"'empty'::{column.base}")]

    return make


def _make_from(*texts: str) -> Callable[[Column, int, str, int | None], list[Value]]:
    """Values that need nothing of the column but its type; those with `g` in them differ from row to row."""

    def make(column: Column, *_: object) -> list[Value]:
        return [Value(text.replace("TYPE", column.type).replace("LENGTH", str(column.length or 8))) for text in texts]

    return make


_GUESSES = (
    "0", "a", "", "{}", "empty", "(0,0)", "(0,0),(1,1)", "((0,0),(1,1))", "{1,2,3}", "<(0,0),1>", "$", "0/0", "1 2",
    "08:00:2b:01:02:03:04:05", "POINT(0 0)", "SRID=4326;POINT(0 0)", "SRID=4326;POLYGON((0 0,1 0,1 1,0 0))",
    "SRID=4326;MULTIPOLYGON(((0 0,1 0,1 1,0 0)))", "SRID=4326;LINESTRING(0 0,1 1)", "pg_class", "2024-01-01",
)  # fmt: skip
_MOMENT = "timestamptz '2024-01-01 00:00Z'"
_MAKERS: dict[str, Callable[[Column, int, str, int | None], list[Value]]] = {
    **dict.fromkeys(("int2", "int4", "int8", "oid", "money"), _make_integers),
    "numeric": _make_numerics,
    **dict.fromkeys(("float4", "float8"), _make_floats),
    "bool": _make_booleans,
    **dict.fromkeys(("text", "varchar", "bpchar", "citext", "name"), _make_texts),
    "uuid": _make_uuids,
    "timestamptz": _make_times(_MOMENT, "second"),
    "timestamp": _make_times("timestamp '2024-01-01'", "second"),
    "date": _make_dates,
    "time": _make_from("(time '00:00' + (g % 86400) * interval '1 second')"),
    "timetz": _make_from("(time '00:00' + (g % 86400) * interval '1 second')::timetz"),
    "interval": _make_from("((g % 100000) * interval '1 second')", "interval '1 day'", "interval '0'"),
    **dict.fromkeys(("json", "jsonb"), _make_json),
    "bytea": _make_bytes,
    "inet": _make_from("(inet '10.0.0.0' + g % 16000000)"),
    "cidr": _make_from("(inet '10.0.0.0' + g % 16000000)::cidr"),
    "macaddr": _make_from("(lpad(to_hex(g % 4294967296), 12, '0'))::macaddr"),
    "int4range": _make_ranges("g::integer", "g::integer + 1"),
    "int8range": _make_ranges("g", "g + 1"),
    "numrange": _make_ranges("g", "g + 1"),
    "daterange": _make_ranges("date '2000-01-01' + g::integer", "date '2000-01-01' + g::integer + 1"),
    "tstzrange": _make_ranges(f"{_MOMENT} + g * interval '1 hour'", f"{_MOMENT} + (g + 1) * interval '1 hour'"),
    "tsrange": _make_ranges(
        "timestamp '2024-01-01' + g * interval '1 hour'", "timestamp '2024-01-01' + (g + 1) * interval '1 hour'"
    ),
    "tsvector": _make_from("to_tsvector('simple', 'word' || g % 1000)"),
    **dict.fromkeys(("bit", "varbit"), _make_from("(g::bit(64)::text)::bit(LENGTH)::TYPE")),
    "xml": _make_from("'<a/>'::xml"),
    "point": _make_from("point(g % 1000, g % 777)"),
    "hstore": _make_from("''::hstore"),
    "ltree": _make_from("('a.b' || g)::ltree"),
    "xid8": _make_from("g::text::xid8"),
    "pg_lsn": _make_from("('0/' || upper(to_hex(g % 4294967295)))::pg_lsn"),
    "vector": _make_from("array_fill(0.5::real, ARRAY[greatest(LENGTH, 1)])::TYPE"),
}
