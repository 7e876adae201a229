"""What commands print: tables and sentences for people, one JSON document for programs, warnings on standard error."""

import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

Row = TypeVar("Row")

_WIDE = 10_000
_WHOLE = ("id", "subject", "begins with")


def print_json(value: Any) -> None:
    """Print one JSON document. Dataclasses and times are written as JSON has them."""
    import orjson

    sys.stdout.write(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z).decode() + "\n")


def print_line(text: str) -> None:
    """Print a sentence on standard output."""
    sys.stdout.write(text + "\n")


def print_note(text: str) -> None:
    """Print a sentence on standard error, where it is in nobody's way."""
    sys.stderr.write(text + "\n")


def show(as_json: bool, value: Any, text: str) -> None:
    """Print what a command did, as JSON or as a sentence."""
    if as_json:
        print_json(value)
    else:
        print_line(text)


def show_secret(as_json: bool, value: Any, text: str, secret: str) -> None:
    """Print what a command made and its secret, which nobody can print again.

    Args:
        as_json: print `value`, which includes the secret, and the sentence about it on standard error.
        value: what was made.
        text: what was made, as a sentence.
        secret: the line to print for people.
    """
    if as_json:
        print_json(value)
        print_note("The secret is shown this once; it cannot be shown again.")
    else:
        print_line(f"{text}\n\n  {secret}\n\nKeep it now: it cannot be shown again.")


def show_list(as_json: bool, rows: Sequence[Row], columns: Mapping[str, Callable[[Row], str]], empty: str) -> None:
    """Print rows as a JSON array or as a table.

    Args:
        as_json: which of the two.
        rows: what to print.
        columns: for the table: each heading, and what to show of a row under it.
        empty: the sentence for people when there are no rows.
    """
    if as_json:
        print_json(list(rows))
    elif not rows:
        print_line(empty)
    else:
        print_table(list(columns), [[show_column(row) for show_column in columns.values()] for row in rows])


def print_table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], styles: Mapping[str, str] | None = None
) -> None:
    """Print a table, in colour on a terminal only. Ids are never cut; other cells continue on the next line.

    Args:
        headings: one a column; columns headed as `_WHOLE` says stay on one line.
        rows: the cells.
        styles: the colour of a whole row, by its first cell.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=sys.stdout, markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        console.width = _WIDE
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for number, heading in enumerate(headings):
        whole = heading in _WHOLE
        width = max(len(row[number]) for row in rows) if whole else None
        table.add_column(heading, no_wrap=whole, min_width=width, overflow="fold")
    for row in rows:
        table.add_row(*(Text(_printable(cell), style=(styles or {}).get(row[0], "")) for cell in row))
    with console.capture() as capture:
        console.print(table)
    # The padding of the last column would be trailing space.
    sys.stdout.write("".join(line.rstrip() + "\n" for line in capture.get().splitlines()))


def show_time(time: datetime | None) -> str:
    """A time for people, in UTC, to the minute."""
    return "" if time is None else time.astimezone(UTC).strftime("%Y-%m-%d %H:%MZ")


def show_date(time: datetime | None) -> str:
    """A day for people, in UTC."""
    return "" if time is None else time.astimezone(UTC).strftime("%Y-%m-%d")


def show_state(disabled_at: datetime | None) -> str:
    """Whether something is enabled."""
    return "enabled" if disabled_at is None else f"disabled {show_time(disabled_at)}"


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
