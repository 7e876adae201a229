"""Of several deliveries' tokens, the one that knows all of them."""

import pytest

from remit.authz.overlay import latest


def kept(began: int, ended: int, token: str) -> str:
    return f"r1.{began}.{ended}.{token}"


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        ([], None),
        ([None, None], None),
        ([kept(10, 20, "a")], "a"),
        ([None, kept(10, 20, "a")], "a"),
        ([kept(10, 20, "a"), kept(30, 40, "b")], "b"),
        ([kept(30, 40, "b"), kept(10, 20, "a")], "b"),
        ([kept(10, 20, "a"), kept(10, 20, "a")], "a"),
        # Which of two that overlapped was written last cannot be told: the engine is asked as fresh as can be.
        ([kept(10, 30, "a"), kept(20, 40, "b")], None),
        ([kept(10, 20, "a"), kept(20, 40, "b")], None),
        ([kept(1, 2, "x"), kept(10, 30, "a"), kept(20, 40, "b")], None),
        # By number and not by text, and with whatever the engine's own token has in it.
        ([kept(9, 10, "a"), kept(100, 200, "b.c.r1.\n")], "b.c.r1.\n"),
        # Of another form: when it was written cannot be told either.
        (["some-token", kept(1, 2, "a")], None),
    ],
)
def test_the_latest_token(tokens: list[str | None], expected: str | None) -> None:
    assert latest(tokens) == expected
