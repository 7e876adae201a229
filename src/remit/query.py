"""Query parameters as one model that is validated at once.

For a list that is asked often: FastAPI looks at each parameter by itself, whether it was sent or not, and a dozen of
them cost more than the answer's JSON.
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from remit.errors import Invalid
from remit.validation import describe_errors

Query = TypeVar("Query", bound=BaseModel)


def read_query(model: type[Query]) -> Callable[[Request], Awaitable[Query]]:
    """A dependency that gives a request's query parameters; those that the model does not have are left alone.

    The dependency raises `Invalid` for what does not fit, as any other parameter would.

    Args:
        model: each field is a parameter, and has a default.
    """

    async def read(request: Request) -> Query:
        try:
            return model.model_validate(dict(request.query_params))
        except ValidationError as error:
            raise Invalid(describe_errors(error.errors(), "query")) from error

    return read


def describe_query(model: type[BaseModel]) -> dict[str, Any]:
    """The description of the parameters that `read_query` reads, for the route's `openapi_extra`."""
    parameters = []
    for name, schema in model.model_json_schema()["properties"].items():
        told = {"description": schema["description"]} if "description" in schema else {}
        parameters.append({"name": name, "in": "query", "required": False, "schema": schema, **told})
    return {"parameters": parameters}
