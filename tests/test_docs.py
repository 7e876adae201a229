"""Pages that are written from the code say what the code says."""

from pathlib import Path

from remit.configuration import describe_settings
from remit.unbuilt import UNBUILT, describe_unbuilt

DOCS = Path(__file__).parent.parent / "docs"
MOST_UNBUILT = 31


def test_configuration_page_is_current() -> None:
    page = (DOCS / "configuration.md").read_text()
    assert page == describe_settings(), "run scripts/write-configuration"


def test_the_page_of_what_is_not_built_is_current() -> None:
    page = (DOCS / "not-built.md").read_text()
    assert page == describe_unbuilt(), "run scripts/write-configuration"


def test_what_is_not_built_only_becomes_less() -> None:
    """Lower the number when something is built; it is never raised."""
    assert sum(len(operations) for operations in UNBUILT.values()) <= MOST_UNBUILT
