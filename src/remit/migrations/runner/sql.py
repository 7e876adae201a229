"""The little that the runner must know about a statement before it runs, without a parser: its first words.

The parser is an optional package, and a server that only migrates its own database does not need it.
"""

from collections.abc import Iterator

_LOCKING = {
    "ALTER", "CLUSTER", "COMMENT", "CREATE", "DROP", "GRANT", "LOCK", "REFRESH", "REINDEX", "REVOKE", "TRUNCATE",
    "VACUUM",
}  # fmt: skip


def read_words(sql: str, count: int = 16) -> list[str]:
    """The first words of a text after its comments, as written."""
    words: list[str] = []
    for word in _split(sql):
        words.append(word)
        if len(words) == count:
            break
    return words


def _split(sql: str) -> Iterator[str]:
    rest = sql.lstrip()
    while rest:
        if rest.startswith("--"):
            rest = rest.partition("\n")[2].lstrip()
        elif rest.startswith("/*"):
            rest = rest.partition("*/")[2].lstrip()
        else:
            end = next((place for place, letter in enumerate(rest) if letter.isspace() or letter == "("), len(rest))
            yield rest[: max(end, 1)]
            rest = rest[max(end, 1) :].lstrip()


def takes_lock(sql: str) -> bool:
    """Whether a statement asks for locks that stop others, so that it has to be tried again when it gets none.

    Rows that are written (`UPDATE` and the like) and what a `DO` block does are not looked into.
    """
    words = read_words(sql, 1)
    return bool(words) and words[0].rstrip(";").upper() in _LOCKING


def is_patient(sql: str) -> bool:
    """Whether a statement waits for old transactions while readers and writers pass."""
    words = [word.upper() for word in read_words(sql)]
    return "CONCURRENTLY" in words or words[:1] == ["VACUUM"]


def find_built_index(sql: str) -> str | None:
    """The name of the index that a CREATE INDEX CONCURRENTLY makes, as written; None for any other statement."""
    words = read_words(sql)
    upper = [word.upper() for word in words]
    if "CREATE" not in upper[:1] or "CONCURRENTLY" not in upper or "INDEX" not in upper[:3]:
        return None
    place = upper.index("CONCURRENTLY") + 1
    if upper[place : place + 3] == ["IF", "NOT", "EXISTS"]:
        place += 3
    return words[place] if place < len(words) and upper[place] != "ON" else None


def shorten(sql: str, length: int = 120) -> str:
    """A statement on one line."""
    text = " ".join(sql.split())
    return text if len(text) <= length else f"{text[: length - 1]}…"
