"""What adding a column does to the rows that are there."""

from remit.migrations.lint.model import Node
from remit.migrations.lint.parse import SERIALS, deparse_type, walk
from remit.migrations.lint.schema import Schema

_STABLE = frozenset(
    """
    now transaction_timestamp statement_timestamp current_timestamp localtimestamp current_date current_time localtime
    current_user session_user current_role current_setting current_database current_schema current_schemas user
    inet_client_addr txid_current pg_current_xact_id timezone date_trunc date_part extract age to_timestamp to_date
    to_char to_number make_date make_time make_timestamp make_timestamptz make_interval justify_days justify_hours
    isfinite abs ceil ceiling floor round trunc sign sqrt power mod greatest least coalesce nullif lower upper initcap
    length char_length octet_length concat concat_ws format left right lpad rpad ltrim rtrim btrim trim substring
    substr split_part string_to_array array_to_string replace repeat reverse translate regexp_replace md5 sha224
    sha256 sha384 sha512 digest hmac encode decode convert_to convert_from chr ascii to_hex quote_ident quote_literal
    array_fill array_append array_cat array_prepend array_remove array_length cardinality row_to_json to_json to_jsonb
    json_build_array json_build_object jsonb_build_array jsonb_build_object jsonb_set json_object jsonb_object
    jsonb_strip_nulls jsonb_array_length to_tsvector setweight to_tsquery plainto_tsquery inet int4range int8range
    numrange tsrange tstzrange daterange hashtext uuid_nil uuid_ns_dns uuid_ns_url st_geomfromtext st_setsrid
    st_makepoint st_point st_geomfromewkt point box circle text int4 int8 numeric bool float8 varchar bpchar date
    timestamp timestamptz pg_get_serial_sequence xmlelement hstore array_agg string_agg uuid_generate_v3
    uuid_generate_v5 bit_length
    """.split()  # noqa: SIM905 - a list of 150 strings would hide them
)


def rewrites_on_add(column: Node, schema: Schema | None = None) -> bool:
    """Whether adding a column writes every row: a stored generated or identity column, a default that is not the same
    for all of them (PostgreSQL 11 on), or a domain that has constraints.
    """
    for item in column.get("constraints", ()):
        constraint = item["constraint"]
        match constraint["contype"]:
            case "CONSTR_GENERATED":
                return bool(constraint.get("generated_kind", "s") == "s")
            case "CONSTR_IDENTITY":
                return True
            case "CONSTR_DEFAULT" if is_volatile(constraint.get("raw_expr", {}), schema):
                return True
    type_name = deparse_type(column["type_name"])
    if schema is not None and type_name in schema.domains and schema.domains[type_name].constrained:
        return True
    return type_name in SERIALS


def describe_new_column(column: Node, schema: Schema) -> str | None:
    """What adding a column does that takes time in proportion to the table; None if nothing."""
    kinds = {item["constraint"]["contype"] for item in column.get("constraints", ())}
    if rewrites_on_add(column, schema):
        return "rewrites it"
    if kinds & {"CONSTR_UNIQUE", "CONSTR_PRIMARY"}:
        return "builds an index over it"
    # A foreign key on a new column without a default has nothing to look at; a check is evaluated for every row.
    if "CONSTR_CHECK" in kinds or {"CONSTR_FOREIGN", "CONSTR_DEFAULT"} <= kinds:
        return "reads every row"
    return None


def is_volatile(expression: Node, schema: Schema | None = None) -> bool:
    """Whether a default must be computed for each row: any function that is not known to be the same for all."""
    for kind, node in walk({"": dict(expression)}):
        if kind != "func_call":
            continue
        name = node["funcname"][-1]["string"]["sval"]
        known = schema.functions.get(name) if schema is not None else None
        if known is True or (known is None and name not in _STABLE):
            return True
    return False
