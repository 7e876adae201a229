"""Parameters that are read as one model are described and refused as FastAPI would do it."""

from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI, Query

from remit.app import add_error_handlers
from remit.query import describe_query, read_query
from remit.tasks.routes import TaskQuery

app = FastAPI()
add_error_handlers(app)


@app.get("/by-fastapi")
async def list_by_fastapi(query: Annotated[TaskQuery, Query()]) -> dict[str, Any]:
    return query.model_dump()


@app.get("/at-once", openapi_extra=describe_query(TaskQuery))
async def list_at_once(query: Annotated[TaskQuery, Depends(read_query(TaskQuery))]) -> dict[str, Any]:
    return query.model_dump()


def test_the_description_is_the_same() -> None:
    paths = app.openapi()["paths"]
    described = paths["/at-once"]["get"]["parameters"]
    assert described == paths["/by-fastapi"]["get"]["parameters"]
    assert {one["name"] for one in described} == set(TaskQuery.model_fields)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "limit=7&agent_name=a&creator=me&unknown=1",
        "limit=7&limit=8",
        "agent_name=",
        "limit=x",
        "limit=1001&page_number=0&status=NEVER",
        "cursor=1&agent_id=2&order_direction=asc",
        "relationships=users&creator=you",
    ],
)
async def test_the_answer_is_the_same(query: str) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        one, other = await client.get(f"/by-fastapi?{query}"), await client.get(f"/at-once?{query}")
    assert (one.status_code, one.json()) == (other.status_code, other.json())
