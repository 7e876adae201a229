"""Python runs this when a process starts with this folder on its path: deletion then leaves relationships behind."""

from remit.authz import registration


async def forget(*_: object, **__: object) -> int:
    return 0


registration.deregister = forget
