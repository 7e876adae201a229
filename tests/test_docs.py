"""Pages that are written from the code say what the code says."""

from pathlib import Path

from remit.configuration import describe_settings

DOCS = Path(__file__).parent.parent / "docs"


def test_configuration_page_is_current() -> None:
    page = (DOCS / "configuration.md").read_text()
    assert page == describe_settings(), "run scripts/write-configuration"
