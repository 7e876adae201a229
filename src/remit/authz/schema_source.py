"""Which schema a process brings with it: the shipped one, or the operator's file."""

from dataclasses import dataclass
from importlib.resources import files

from remit.authz.errors import SchemaError
from remit.settings import Settings

SHIPPED = "remit"


@dataclass(frozen=True, slots=True)
class SchemaSource:
    """A schema's text and where it is from.

    Attributes:
        text: in SpiceDB's language.
        file: its name, for messages.
        applied_by: who brings it, as recorded with each version.
        chosen: an operator named it, so that it replaces whatever the database has.
    """

    text: str
    file: str
    applied_by: str
    chosen: bool


def find_schema(settings: Settings) -> SchemaSource:
    """The schema of these settings.

    Raises:
        SchemaError: the operator's file cannot be read.
    """
    if settings.authz_schema is None:
        text = files("remit.authz").joinpath("schema.zed").read_text("utf-8")
        return SchemaSource(text, "schema.zed", SHIPPED, chosen=False)
    try:
        text = settings.authz_schema.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SchemaError(f"REMIT_AUTHZ_SCHEMA cannot be read: {error}", file=settings.authz_schema.name) from error
    return SchemaSource(text, settings.authz_schema.name, "REMIT_AUTHZ_SCHEMA", chosen=True)
