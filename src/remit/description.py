"""The API description's errors: what every route may answer beside its success, told once (RFC 9457)."""

from typing import Any

_NAME = "Problem"
_REF = {"schema": {"$ref": f"#/components/schemas/{_NAME}"}}
_TEXT = {"type": "string"}
_PROBLEM: dict[str, Any] = {
    "title": _NAME,
    "type": "object",
    "description": "What went wrong and what to do; `message`, `code` and `data` are for clients of the contract.",
    "required": ["message", "code", "type", "title", "status", "detail"],
    "properties": {
        "message": _TEXT,
        "code": {"type": "integer"},
        "data": {},
        "type": _TEXT,
        "title": _TEXT,
        "status": {"type": "integer"},
        "detail": _TEXT,
        "request_id": _TEXT,
        "errors": {
            "type": "array",
            "items": {"type": "object", "properties": {"field": _TEXT, "message": _TEXT}},
        },
    },
}
# What the framework describes and no route answers.
_NOT_ANSWERED = ("HTTPValidationError", "ValidationError")


def describe_problems(description: dict[str, Any]) -> None:
    """Replace the framework's own description of errors, in place.

    Args:
        description: the OpenAPI document that the framework made.
    """
    schemas = description.setdefault("components", {}).setdefault("schemas", {})
    for name in _NOT_ANSWERED:
        schemas.pop(name, None)
    schemas[_NAME] = _PROBLEM
    for path, operations in description["paths"].items():
        content = {"application/problem+json": _REF}
        if path.endswith("/rpc"):
            # Refusals of a call are JSON-RPC responses as well.
            content["application/json"] = _REF
        for operation in operations.values():
            operation["responses"].pop("422", None)
            operation["responses"]["default"] = {"description": "An error.", "content": content}
