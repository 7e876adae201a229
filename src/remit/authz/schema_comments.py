"""Which statement a comment of a schema belongs to.

A comment on lines of its own belongs to what follows; one inside a statement, or behind it on its line, to that
statement. What follows the last statement of a body belongs to the body's end, so that a printed schema loses none.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

COMMENT: Final = re.compile(r"//[^\r\n]*|/\*.*?\*/", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Span:
    """Where something stands that comments belong to.

    Attributes:
        start: its first character.
        stop: the character behind its last one; `start` for what has nothing inside.
        key: what it is.
    """

    start: int
    stop: int
    key: object


def blank_comments(source: str) -> str:
    """The source with spaces for its comments, so that places stay what they are."""
    return COMMENT.sub(lambda match: re.sub(r"[^\r\n]", " ", match.group()), source)


def assign_comments(source: str, spans: Sequence[Span]) -> dict[object, tuple[str, ...]]:
    """The comments of each span, in order, without what stands before their lines.

    Args:
        source: the text.
        spans: in the order in which they begin; the last one is the end of the text.
    """
    bare = blank_comments(source)
    starts = [span.start for span in spans]
    found: dict[object, list[str]] = {}
    for match in COMMENT.finditer(source):
        place = match.start()
        line = max(bare.rfind("\n", 0, place), bare.rfind("\r", 0, place)) + 1
        following = bisect_right(starts, place)
        last = spans[following - 1] if following else None
        own = last is not None and (place < last.stop or bare[line:place].strip())
        owner = last if last is not None and own else spans[following]
        text = "\n".join(part.strip() for part in match.group().split("\n"))
        found.setdefault(owner.key, []).append(text)
    return {key: tuple(texts) for key, texts in found.items()}
