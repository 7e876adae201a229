"""Pages of a list: newest first, by id, after a cursor; or by number, to a stated depth."""

import re
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from fastapi import Query
from pydantic import AfterValidator, BaseModel, Field
from pydantic_core import PydanticCustomError

from remit.errors import Invalid

DEFAULT_LIMIT = 50
MOST_ROWS = 1000
DEEPEST_ROW = 10_000

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)


def is_id(text: str) -> bool:
    """Whether a text is a UUID in the usual form of 36 characters."""
    return _UUID.fullmatch(text) is not None


def check_id(text: str) -> str:
    """The id in canonical form.

    Raises:
        PydanticCustomError: it is not a UUID in the usual form of 36 characters.
    """
    if not is_id(text):
        raise PydanticCustomError("id", "must be a UUID")
    return text.lower()


Id = Annotated[str, AfterValidator(check_id)]


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list is asked for.

    Attributes:
        limit: most rows to return.
        before: id after which the page starts (older rows follow), None for the first page.
        skip: rows to leave out, for pages asked for by number.
        ascending: oldest first, for lists that can be read that way.
    """

    limit: int
    before: str | None
    skip: int
    ascending: bool = False

    @property
    def rows_needed(self) -> int:
        """Rows the database has to find so that the page can be cut out of them."""
        return self.skip + self.limit

    def next_cursor(self, ids: list[str]) -> str | None:
        """The cursor of the page after this one, None when this one is short and so the last."""
        return ids[-1] if len(ids) == self.limit else None


def refuse_cursor(page: Page) -> None:
    """Refuse a cursor where a list has none, rather than show its first page again and again.

    Raises:
        Invalid: the request has one.
    """
    if page.before is not None:
        raise Invalid([("query.cursor", "must not be sent to this list; use `page_number`, or `/messages/paginated`")])


class PageQuery(BaseModel):
    """The parameters that say which page of a list is asked for."""

    limit: int = Field(DEFAULT_LIMIT, ge=0, le=MOST_ROWS, description="Most rows; 0 means the default.")
    cursor: Id | None = Field(None, description="From `x-next-cursor` of the page before.")
    page_number: int = Field(1, ge=1, description="Page counted from 1; a cursor is cheaper.")
    # Lists have one order; any other is refused by the type.
    order_by: Literal["id", "created_at"] | None = Field(None, description="Both mean the same.")
    order_direction: Literal["desc"] = Field("desc", description="Newest first.")

    def page(self) -> Page:
        """The page that is asked for.

        Raises:
            Invalid: it lies deeper than can be reached by number.
        """
        limit = self.limit or DEFAULT_LIMIT
        skip = 0 if self.cursor else (self.page_number - 1) * limit
        if skip + limit > DEEPEST_ROW:
            raise Invalid([("query.page_number", f"reaches at most {DEEPEST_ROW} rows; go on with `cursor`")])
        return Page(limit=limit, before=self.cursor, skip=skip)


async def read_page(query: Annotated[PageQuery, Query()]) -> Page:
    """The page a request asks for.

    Raises:
        Invalid: as `PageQuery.page`.
    """
    return query.page()


async def read_page_either_way(
    limit: Annotated[int, Query(ge=0, le=MOST_ROWS, description="Most rows; 0 means the default.")] = DEFAULT_LIMIT,
    cursor: Annotated[Id | None, Query(description="Not for this list.")] = None,
    page_number: Annotated[int, Query(ge=1, description="Page counted from 1.")] = 1,
    order_by: Annotated[Literal["id", "created_at"] | None, Query(description="Both mean the same.")] = None,
    order_direction: Annotated[Literal["asc", "desc"], Query(description="Newest first by default.")] = "desc",
) -> Page:
    """The page that a request asks for of a list that goes both ways.

    Raises:
        Invalid: as `read_page`; or it has a cursor, which such a list has not.
    """
    page = PageQuery(limit=limit, cursor=cursor, page_number=page_number, order_by=order_by).page()
    refuse_cursor(page)
    return replace(page, ascending=order_direction == "asc")
