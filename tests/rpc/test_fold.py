"""Folding of an agent's updates: what is stored, what is forwarded, in which order, and what a cut stream leaves."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.content import MAX_JSON_DEPTH, TaskMessageUpdate, update_adapter
from remit.rpc.fold import INCOMPLETE_JSON, CreateMessage, Fold, FoldError, ForwardUpdate, Step, StoreMessage

HELLO = {"type": "text", "author": "agent", "content": "hello"}


def update(type: str, index: int | None = 0, **fields: Any) -> TaskMessageUpdate:
    return update_adapter.validate_python({"type": type, "index": index, **fields})


def start(index: int | None = 0, **content: Any) -> TaskMessageUpdate:
    return update("start", index, content={"type": "text", "author": "agent", "content": "", **content})


def delta(index: int | None = 0, **fields: Any) -> TaskMessageUpdate:
    return update("delta", index, delta=fields)


def text_delta(text: str | None, index: int | None = 0) -> TaskMessageUpdate:
    return delta(index, type="text", text_delta=text)


def data_delta(text: str, index: int | None = 0) -> TaskMessageUpdate:
    return delta(index, type="data", data_delta=text)


def feed_all(fold: Fold, *updates: TaskMessageUpdate) -> list[Step]:
    return [step for each in updates for step in fold.feed(each)]


def fold_to_the_end(*updates: TaskMessageUpdate) -> list[dict[str, Any]]:
    fold = Fold()
    feed_all(fold, *updates)
    fold.close()
    assert all(message.complete for message in fold.messages())
    return [message.content.model_dump() for message in fold.messages()]


def describe(steps: list[Step]) -> list[tuple[Any, ...]]:
    """Each step as (what, index, body), short enough to compare by eye."""
    described: list[tuple[Any, ...]] = []
    for step in steps:
        if isinstance(step, ForwardUpdate):
            described.append((f"forward {step.update.type}", step.update.index))
        else:
            what = "store" if isinstance(step, StoreMessage) else "create done" if step.done else "create"
            described.append((what, step.index, getattr(step.content, "content", None)))
    return described


def test_a_message_is_created_before_its_start_is_forwarded_and_stored_before_its_done_is() -> None:
    steps = feed_all(Fold(), start(), text_delta("hel"), text_delta("lo"), update("done"))
    assert describe(steps) == [
        ("create", 0, ""),
        ("forward start", 0),
        ("forward delta", 0),
        ("forward delta", 0),
        ("store", 0, "hello"),
        ("forward done", 0),
    ]


def test_a_first_delta_without_a_start_gets_one() -> None:
    steps = feed_all(Fold(), text_delta("hi"), text_delta("!"))
    assert describe(steps) == [
        ("create", 0, ""),
        ("forward start", 0),
        ("forward delta", 0),
        ("forward delta", 0),
    ]


def test_a_full_without_a_start_ends_done() -> None:
    assert describe(Fold().feed(update("full", content=HELLO))) == [("create done", 0, "hello"), ("forward full", 0)]


def test_a_full_takes_the_place_of_what_streamed_before_it() -> None:
    steps = feed_all(Fold(), start(), text_delta("draft"), update("full", content=HELLO))
    assert describe(steps)[-2:] == [("store", 0, "hello"), ("forward full", 0)]


@pytest.mark.parametrize("last", [update("done"), update("full", content=HELLO)], ids=["done", "full"])
def test_what_comes_for_a_complete_index_is_dropped(last: TaskMessageUpdate) -> None:
    fold = Fold()
    feed_all(fold, start(), text_delta("hello"), last)
    late = [start(content="x"), text_delta("x"), update("full", content=HELLO | {"content": "x"}), update("done")]
    assert feed_all(fold, *late) == []
    assert fold.close() == []
    assert describe([CreateMessage(m.index, m.content, m.complete) for m in fold.messages()]) == [
        ("create done", 0, "hello")
    ]


def test_a_done_of_an_unknown_index_is_dropped_and_does_not_close_it() -> None:
    fold = Fold()
    assert fold.feed(update("done", 3)) == []
    assert describe(fold.feed(text_delta("hi", 3)))[0] == ("create", 3, "")


def test_a_second_start_of_an_open_index_is_dropped() -> None:
    fold = Fold()
    feed_all(fold, start(), text_delta("kept"))
    assert fold.feed(start(content="other")) == []
    assert describe(fold.close()) == [("store", 0, "kept")]


def test_a_delta_of_nothing_is_dropped() -> None:
    assert Fold().feed(update("delta", delta=None)) == []
    assert fold_to_the_end(text_delta(None), text_delta("a"))[0]["content"] == "a"


def test_open_messages_are_stored_when_the_stream_ends() -> None:
    fold = Fold()
    feed_all(fold, text_delta("one", 1), start(0, content="only a start"), text_delta("!", 1))
    assert describe(fold.close()) == [("store", 1, "one!"), ("store", 0, "only a start")]


def test_messages_come_in_order_of_first_appearance_whatever_completes_first() -> None:
    fold = Fold()
    feed_all(fold, start(7), start(2), update("full", 5, content=HELLO), text_delta("b", 2), update("done", 2))
    assert [(message.index, message.complete) for message in fold.messages()] == [(7, False), (2, True), (5, True)]


def test_an_index_of_null_is_a_message_too() -> None:
    assert describe(feed_all(Fold(), text_delta("a", None), update("done", None)))[-2:] == [
        ("store", None, "a"),
        ("forward done", None),
    ]


def test_deltas_replace_the_body_of_the_start_and_keep_the_rest_of_it() -> None:
    message = fold_to_the_end(start(content="thinking", format="markdown", style="active"), text_delta("done"))[0]
    assert (message["content"], message["format"], message["style"]) == ("done", "markdown", "active")


def test_deltas_of_another_kind_than_the_start_win() -> None:
    message = fold_to_the_end(start(style="active"), data_delta('{"a":1}'))[0]
    assert (message["type"], message["data"], message["style"]) == ("data", {"a": 1}, "active")


def test_tool_calls_and_answers_fold() -> None:
    call, answer = fold_to_the_end(
        delta(0, type="tool_request", tool_call_id="c1", name="add", arguments_delta='{"a":'),
        delta(1, type="tool_response", tool_call_id="c1", name="add", content_delta="for"),
        delta(0, type="tool_request", tool_call_id="c1", name="add", arguments_delta="1}"),
        delta(1, type="tool_response", tool_call_id="c1", name="add", content_delta="ty"),
    )
    assert (call["tool_call_id"], call["name"], call["arguments"]) == ("c1", "add", {"a": 1})
    assert (answer["tool_call_id"], answer["name"], answer["content"]) == ("c1", "add", "forty")


def test_a_tool_call_whose_deltas_are_blank_keeps_the_arguments_of_its_start() -> None:
    content = {
        "type": "tool_request",
        "author": "agent",
        "tool_call_id": "c",
        "name": "now",
        "arguments": {"tz": "UTC"},
    }
    blank = delta(0, type="tool_request", tool_call_id="c", name="now", arguments_delta="")
    assert fold_to_the_end(update("start", content=content), blank)[0]["arguments"] == {"tz": "UTC"}


def test_both_kinds_of_reasoning_make_one_message_in_order_of_their_indexes() -> None:
    message = fold_to_the_end(
        delta(type="reasoning_content", content_index=1, content_delta="second"),
        delta(type="reasoning_summary", summary_index=10, summary_delta="last"),
        delta(type="reasoning_content", content_index=0, content_delta="fir"),
        delta(type="reasoning_summary", summary_index=2, summary_delta="first"),
        delta(type="reasoning_content", content_index=0, content_delta="st"),
    )
    assert (message[0]["summary"], message[0]["content"]) == (["first", "last"], ["first", "second"])


def test_reasoning_that_only_streams_its_summary_keeps_the_content_of_its_start() -> None:
    content = {"type": "reasoning", "author": "agent", "summary": [], "content": ["whole"]}
    summary = delta(type="reasoning_summary", summary_index=0, summary_delta="short")
    message = fold_to_the_end(update("start", content=content), summary)[0]
    assert (message["summary"], message["content"]) == (["short"], ["whole"])


def test_mixed_deltas_are_an_error_and_change_nothing() -> None:
    fold = Fold()
    feed_all(fold, text_delta("kept", 4))
    with pytest.raises(FoldError, match="index 4 mixes text with data"):
        fold.feed(data_delta("{}", 4))
    assert describe(fold.close()) == [("store", 4, "kept")]


BAD_JSON = {
    "broken": '{"a": 1',
    "no object": "[1]",
    "not finite": '{"a": NaN}',
    "U+0000": '{"a": "\\u0000"}',
    "half a pair": '{"a": "\\ud800"}',
    "too deep": '{"a":' * (MAX_JSON_DEPTH + 1) + "1" + "}" * (MAX_JSON_DEPTH + 1),
}


@pytest.mark.parametrize("text", BAD_JSON.values(), ids=BAD_JSON.keys())
def test_json_that_cannot_be_kept_is_an_error_without_its_text_and_what_came_is_kept_as_text(text: str) -> None:
    fold = Fold()
    feed_all(fold, text_delta("before", 1), data_delta(text))
    with pytest.raises(FoldError) as refused:
        fold.feed(update("done"))
    assert str(refused.value) == "The data of the message of index 0 are not a JSON object."
    with pytest.raises(FoldError):
        fold.close()
    before, data = fold.messages()
    assert not before.complete
    assert not data.complete
    assert data.content.model_dump()["data"] == {INCOMPLETE_JSON: text}


def test_a_cut_stream_leaves_what_came() -> None:
    fold = Fold()
    feed_all(fold, update("full", 0, content=HELLO), text_delta("half an ans", 1))
    feed_all(fold, delta(2, type="tool_request", tool_call_id="c", name="add", arguments_delta='{"a":'))
    left = [(m.complete, m.content.model_dump(exclude_defaults=True)) for m in fold.messages()]
    assert [complete for complete, _ in left] == [True, False, False]
    assert left[1][1]["content"] == "half an ans"
    assert left[2][1]["arguments"] == {INCOMPLETE_JSON: '{"a":'}


@st.composite
def chunked(draw: st.DrawFn, text: st.SearchStrategy[str]) -> tuple[str, list[str]]:
    whole = draw(text)
    cuts = sorted(draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    return whole, [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]


texts = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]))


@given(chunked(texts))
def test_any_chunking_of_a_text_gives_that_text(case: tuple[str, list[str]]) -> None:
    whole, chunks = case
    assert fold_to_the_end(*map(text_delta, chunks), update("done"))[0]["content"] == whole


objects = st.dictionaries(
    texts, st.recursive(st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts, st.lists)
)


@given(chunked(objects.map(json.dumps)))
def test_any_chunking_of_json_gives_that_object(case: tuple[str, list[str]]) -> None:
    whole, chunks = case
    assert fold_to_the_end(*map(data_delta, chunks))[0]["data"] == json.loads(whole)


indexes = st.integers(0, 2)
any_updates = st.lists(
    st.one_of(
        st.builds(start, indexes),
        st.builds(text_delta, texts, indexes),
        st.builds(lambda index: update("full", index, content=HELLO), indexes),
        st.builds(lambda index: update("done", index), indexes),
    )
)


@given(any_updates)
def test_whatever_an_agent_sends_each_message_is_created_once_then_stored_once(
    updates: list[TaskMessageUpdate],
) -> None:
    """A caller that obeys the steps holds, at the end, exactly what `messages` says, and never forwards too early."""
    fold = Fold()
    rows: dict[int | None, tuple[Any, bool]] = {}
    for step in [*feed_all(fold, *updates), *fold.close()]:
        if isinstance(step, CreateMessage):
            assert step.index not in rows
            rows[step.index] = (step.content, step.done)
        elif isinstance(step, StoreMessage):
            assert not rows[step.index][1]
            rows[step.index] = (step.content, True)
        else:
            assert step.update.index in rows
            assert rows[step.update.index][1] == (step.update.type in ("full", "done"))
    assert {message.index: (message.content, message.complete) for message in fold.messages()} == rows
    assert list(rows) == [message.index for message in fold.messages()]
