"""The engine `http` against providers that answer as they like, and against `remit auth serve`."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from fastapi import FastAPI, Request, Response
from support.graph import Party, World
from support.provider import Json, Peer, ProviderProcess
from support.server import serve

from remit.authz.errors import PermissionUnknown
from remit.authz.http import HttpRemote
from remit.authz.model import Relationship, Resource, Subject
from remit.authz.registration import relationships_of_agent, relationships_of_task
from remit.authz.remote import Delivery, NotOffered, Question, RemoteError
from remit.budget import request_budget
from remit.settings import Settings

ALICE, BOB = Subject("user", "alice"), Subject("user", "bob")
TASK = Resource("task", "t1")
READ = Question(ALICE, "read", TASK)
YES = Response('{"success": true}', media_type="application/json")

Answer = Callable[[Json], Awaitable[Response]]


@dataclass
class FakeProvider:
    """A provider whose answers a test decides; it keeps what it was sent."""

    url: str = ""
    answer: Answer | None = None
    calls: list[tuple[str, Json]] = field(default_factory=list)

    def say(self, status: int, body: str, **headers: str) -> None:
        async def answer(_: Json) -> Response:
            return Response(body, status, {name.replace("_", "-"): value for name, value in headers.items()})

        self.answer = answer


@pytest.fixture
async def fake() -> AsyncIterator[FakeProvider]:
    provider, app = FakeProvider(), FastAPI()

    @app.post("/v1/authz/{verb}")
    async def handle(verb: str, request: Request) -> Response:
        body = await request.json()
        provider.calls.append((verb, body))
        return await provider.answer(body) if provider.answer else YES

    async with serve("no database", app) as server:
        provider.url = server.url
        yield provider


@asynccontextmanager
async def remote_to(url: str, **more: Any) -> AsyncIterator[HttpRemote]:
    remote = HttpRemote(url, **more)
    try:
        yield remote
    finally:
        await remote.aclose()


@pytest.fixture
async def remote(fake: FakeProvider) -> AsyncIterator[HttpRemote]:
    async with remote_to(fake.url) as opened:
        yield opened


# what is asked ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("permission", "resource", "sent"),
    [
        ("read", TASK, ("task", "t1", "read")),
        ("share", TASK, ("task", "t1", "delete")),
        ("create_task", Resource("tenant", "acme"), ("task", "*", "create")),
        ("create_agent", Resource("tenant", "acme"), ("agent", "*", "create")),
        ("execute", Resource("agent", "a1"), ("agent", "a1", "execute")),
        ("update", Resource("schedule", "run-schedule::a1::s1"), ("schedule", "run-schedule::a1::s1", "update")),
    ],
)
async def test_a_question_in_the_contracts_words(
    fake: FakeProvider, remote: HttpRemote, permission: str, resource: Resource, sent: tuple[str, str, str]
) -> None:
    assert await remote.check([Question(ALICE, permission, resource)]) == [True]
    type, selector, operation = sent
    principal = {"principal_type": "user", "user_id": "alice"}
    asked = {"principal": principal, "resource": {"type": type, "selector": selector}, "operation": operation}
    assert fake.calls == [("check", asked)]


async def test_what_the_contract_has_not_is_not_asked(fake: FakeProvider, remote: HttpRemote) -> None:
    for permission, resource in (("manage", Resource("tenant", "t")), ("member", Resource("group", "g"))):
        with pytest.raises(NotOffered):
            await remote.check([Question(ALICE, permission, resource)])
    with pytest.raises(PermissionUnknown):
        await remote.check([Question(ALICE, "fly", TASK)])
    assert fake.calls == []


async def test_answers_come_in_the_order_asked(fake: FakeProvider, remote: HttpRemote) -> None:
    async def answer(body: Json) -> Response:
        number = int(body["resource"]["selector"])
        await asyncio.sleep(0.001 * (50 - number))
        return YES if number % 3 else Response('{"message": "no"}', 403)

    fake.answer = answer
    answers = await remote.check([Question(ALICE, "read", Resource("task", str(number))) for number in range(50)])
    assert answers == [bool(number % 3) for number in range(50)]


# what is an answer --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body", ["{}", '{"success": false}', '{"success": 1}', '{"success": "true"}', "[]", "true", "null"]
)
async def test_an_answer_that_does_not_say_yes_is_no(fake: FakeProvider, remote: HttpRemote, body: str) -> None:
    fake.say(200, body)
    assert await remote.check([READ]) == [False]


async def test_403_is_no(fake: FakeProvider, remote: HttpRemote) -> None:
    fake.say(403, '{"message": "no"}')
    assert await remote.check([READ]) == [False]


NO_ANSWERS = [
    (200, "", {}, "Malformed", False),
    (200, "yes", {}, "Malformed", False),
    (201, '{"success": true}', {}, "Status201", False),
    (204, "", {}, "Status204", False),
    (302, "", {"location": "/elsewhere"}, "Status302", False),
    (401, "{}", {}, "Unauthenticated", False),
    (403, "{}", {"x_service_account_auth_error": "forbidden"}, "CallerRefused", False),
    (404, '{"message": "secret words"}', {}, "Status404", False),
    (422, "{}", {}, "Status422", False),
    (429, "{}", {}, "TooManyRequests", True),
    (500, '{"message": "secret words"}', {}, "Status500", False),
    (502, "<html>secret words</html>", {}, "BadGateway", True),
    (503, "{}", {}, "Unavailable", True),
    (504, "{}", {}, "GatewayTimeout", True),
]


@pytest.mark.parametrize(("status", "body", "headers", "exception_class", "transient"), NO_ANSWERS)
async def test_what_is_no_answer_is_neither_yes_nor_no(
    fake: FakeProvider,
    remote: HttpRemote,
    status: int,
    body: str,
    headers: dict[str, str],
    exception_class: str,
    transient: bool,
) -> None:
    fake.say(status, body, **headers)
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: remote.check([READ]),
        lambda: remote.lookup_resources(ALICE, "read", "task"),
        lambda: remote.deliver(Delivery(TASK, 2, 1, gone=True, actor=ALICE)),
    ]
    for call in calls:
        with pytest.raises(RemoteError) as caught:
            await call()
        assert (caught.value.exception_class, caught.value.transient) == (exception_class, transient)
        assert not caught.value.denied
        assert "secret words" not in str(caught.value)
        assert fake.url not in str(caught.value)


async def test_one_question_without_an_answer_leaves_none_answered(fake: FakeProvider, remote: HttpRemote) -> None:
    async def answer(body: Json) -> Response:
        return Response("", 503) if body["resource"]["selector"] == "t2" else YES

    fake.answer = answer
    with pytest.raises(RemoteError):
        await remote.check([READ, Question(ALICE, "read", Resource("task", "t2"))])


async def test_a_provider_that_is_away_is_no_answer() -> None:
    async with remote_to("http://127.0.0.1:1") as remote:
        with pytest.raises(RemoteError) as caught:
            await remote.check([READ])
    assert (caught.value.transient, caught.value.exception_class) == (True, "ConnectError")


async def test_the_calls_of_a_request_share_one_budget(fake: FakeProvider) -> None:
    hangs = asyncio.Event()

    async def answer(_: Json) -> Response:
        await hangs.wait()
        return YES

    async with remote_to(fake.url, seconds=0.3) as remote:
        with request_budget(0.3) as budget:
            assert await remote.check([READ]) == [True]
            assert 0 < budget.left < 0.3
            fake.answer = answer
            with pytest.raises(RemoteError) as caught:
                await remote.check([READ])
            assert caught.value.exception_class == "DeadlineExceeded"
            fake.answer = None
            before = len(fake.calls)
            with pytest.raises(RemoteError):
                await remote.check([READ])
            # Nothing was left, so nothing was sent.
            assert len(fake.calls) == before
        assert await remote.check([READ]) == [True]
        hangs.set()


# lists --------------------------------------------------------------------------------------------------------------


async def test_a_list_is_exhaustive(fake: FakeProvider, remote: HttpRemote) -> None:
    ids = [str(number) for number in range(3000)]
    fake.say(200, '{"items": [' + ",".join(f'"{id}"' for id in [*ids, "7"]) + "]}")
    page = await remote.lookup_resources(ALICE, "share", "task")
    assert (list(page.ids), page.cursor, page.unscoped) == (ids, None, False)
    assert fake.calls[0][1]["filter_operation"] == "delete"
    assert fake.calls[0][1]["filter_resource"] == "task"


async def test_only_the_json_boolean_is_unscoped(fake: FakeProvider, remote: HttpRemote) -> None:
    fake.say(200, '{"unscoped": true, "items": ["ignored"]}')
    page = await remote.lookup_resources(ALICE, "read", "task")
    assert (page.unscoped, page.ids) == (True, ())
    for almost in ("1", '"true"', "false", "null"):
        fake.say(200, f'{{"unscoped": {almost}, "items": []}}')
        page = await remote.lookup_resources(ALICE, "read", "task")
        assert (page.unscoped, page.ids) == (False, ())


@pytest.mark.parametrize(
    "body", ["{}", "[]", '{"unscoped": 1}', '{"items": null}', '{"items": [1]}', '{"items": "t1"}']
)
async def test_what_is_no_list_is_no_answer(fake: FakeProvider, remote: HttpRemote, body: str) -> None:
    fake.say(200, body)
    with pytest.raises(RemoteError):
        await remote.lookup_resources(ALICE, "read", "task")


# deliveries ---------------------------------------------------------------------------------------------------------


def new_task() -> Delivery:
    return Delivery(TASK, 1, None, touch=tuple(relationships_of_task("t1", "acme", "a1", ALICE)), actor=ALICE)


async def test_register_has_owner_and_parent(fake: FakeProvider, remote: HttpRemote) -> None:
    await remote.deliver(new_task())
    body = {
        "principal": {"principal_type": "user", "user_id": "alice", "account_id": "acme"},
        "resource": {"type": "task", "selector": "t1"},
        "parent": {"type": "agent", "selector": "a1"},
    }
    assert fake.calls == [("register", body)]


async def test_an_agent_is_registered_without_a_parent(fake: FakeProvider, remote: HttpRemote) -> None:
    owner = Subject("service_account", "bot")
    touch = [fact for fact in relationships_of_agent("a1", "acme", owner) if fact.resource.type == "agent"]
    await remote.deliver(Delivery(Resource("agent", "a1"), 1, None, touch=tuple(touch)))
    ((verb, body),) = fake.calls
    assert verb == "register"
    assert body["parent"] is None
    assert body["principal"]["service_account_id"] == "bot"
    assert "user_id" not in body["principal"]


async def test_outside_of_a_request_a_resource_is_registered_all_the_same(
    fake: FakeProvider, remote: HttpRemote
) -> None:
    await remote.deliver(Delivery(TASK, 1, None, touch=tuple(relationships_of_task("t1", "acme", "a1", None))))
    ((verb, body),) = fake.calls
    assert (verb, body["principal"]) == ("register", {"principal_type": "system", "account_id": "acme"})


async def test_owners_that_come_and_go(fake: FakeProvider, remote: HttpRemote) -> None:
    await remote.deliver(
        Delivery(
            TASK,
            2,
            1,
            touch=(Relationship(TASK, "owner", BOB),),
            delete=(Relationship(TASK, "owner", ALICE),),
            actor=ALICE,
        )
    )
    assert [(verb, body["principal"]["user_id"], body["operation"]) for verb, body in fake.calls] == [
        ("grant", "bob", "create"),
        ("revoke", "alice", "delete"),
    ]


@pytest.mark.parametrize("kept", [True, False])
async def test_a_refused_revocation_stands_while_the_provider_keeps_the_owner(
    fake: FakeProvider, remote: HttpRemote, kept: bool
) -> None:
    async def answer(_: Json) -> Response:
        return YES if kept and fake.calls[-1][0] == "check" else Response('{"message": "no"}', 403)

    fake.answer = answer
    taken = Delivery(TASK, 2, 1, delete=(Relationship(TASK, "owner", ALICE),), actor=BOB)
    if kept:
        with pytest.raises(RemoteError) as caught:
            await remote.deliver(taken)
        assert caught.value.denied
    else:
        await remote.deliver(taken)
    assert [(verb, body["principal"]["user_id"], body["operation"]) for verb, body in fake.calls] == [
        ("revoke", "alice", "delete"),
        ("check", "alice", "delete"),
    ]


async def test_a_deletion_is_deregistered(fake: FakeProvider, remote: HttpRemote) -> None:
    await remote.deliver(Delivery(TASK, 3, 2, gone=True, actor=BOB))
    resource = {"type": "task", "selector": "t1"}
    assert fake.calls == [
        ("deregister", {"principal": {"principal_type": "user", "user_id": "bob"}, "resource": resource})
    ]


async def test_tenants_and_groups_are_the_providers_own(fake: FakeProvider, remote: HttpRemote) -> None:
    for resource, relation in ((Resource("tenant", "acme"), "admin"), (Resource("group", "g"), "member")):
        await remote.deliver(Delivery(resource, 1, None, touch=(Relationship(resource, relation, ALICE),)))
    assert fake.calls == []


async def test_roles_that_the_contract_has_not_are_told_as_such(fake: FakeProvider, remote: HttpRemote) -> None:
    with pytest.raises(RemoteError) as caught:
        await remote.deliver(Delivery(TASK, 2, 1, touch=(Relationship(TASK, "viewer", BOB),), actor=ALICE))
    assert (caught.value.exception_class, caught.value.transient) == ("NotExpressible", False)
    assert fake.calls == []


async def test_a_refused_registration_says_so(fake: FakeProvider, remote: HttpRemote) -> None:
    fake.say(403, '{"message": "no"}')
    with pytest.raises(RemoteError) as caught:
        await remote.deliver(new_task())
    assert (caught.value.denied, caught.value.transient) == (True, False)


async def test_nothing_can_be_read_back(remote: HttpRemote) -> None:
    with pytest.raises(NotOffered):
        await remote.read("task")


async def test_a_probe_finds_out_what_a_provider_does_not_know(fake: FakeProvider, remote: HttpRemote) -> None:
    asked = [("task", "cancel"), ("agent", "execute"), ("task", "share"), ("tenant", "create_task")]
    for status in (200, 401, 403):
        fake.say(status, "{}")
        await remote.probe(asked)
    for status in (404, 422):
        fake.say(status, "{}")
        with pytest.raises(PermissionUnknown):
            await remote.probe(asked)
    fake.say(503, "{}")
    with pytest.raises(RemoteError):
        await remote.probe(asked)


def test_without_an_address_it_says_which_setting() -> None:
    with pytest.raises(NotOffered, match="REMIT_AUTHZ_URL"):
        HttpRemote.open(Settings())


# two Remits ---------------------------------------------------------------------------------------------------------


@pytest.fixture
async def principals(peer: Peer, world: World) -> dict[str, Json]:
    """What the provider's authentication answered, by the id of the subject."""
    parties: list[Party] = [world.alice, world.bob, world.root, world.viewer, world.mallory]
    return {party.id: await peer.principal(party) for party in parties}


@pytest.fixture
async def to_remit(provider: ProviderProcess, principals: dict[str, Json]) -> AsyncIterator[HttpRemote]:
    """The engine, with `remit auth serve` as its provider, which takes no principals but its own."""

    async def principal_of(subject: Subject | None, _: str | None) -> Mapping[str, Any]:
        return principals[subject.id] if subject else {}

    async with remote_to(provider.url, principal_of=principal_of) as opened:
        yield opened


async def test_remit_as_the_provider_of_remit(to_remit: HttpRemote, world: World) -> None:
    agent, task = str(uuid.uuid4()), str(uuid.uuid4())
    alice, bob, root, mallory = (party.subject for party in (world.alice, world.bob, world.root, world.mallory))

    async def who_may(permission: str, resource: Resource) -> list[Subject]:
        everyone = [alice, bob, root, mallory]
        answers = await to_remit.check([Question(subject, permission, resource) for subject in everyone])
        return [subject for subject, allowed in zip(everyone, answers, strict=True) if allowed]

    for id, touch in (
        (agent, relationships_of_agent(agent, world.tenant_id, alice)),
        (task, relationships_of_task(task, world.tenant_id, agent, alice)),
    ):
        type = "agent" if id == agent else "task"
        own = tuple(fact for fact in touch if fact.resource.type == type)
        delivery = Delivery(Resource(type, id), 1, None, touch=own, actor=alice)
        await to_remit.deliver(delivery)
        await to_remit.deliver(delivery)
    assert await who_may("execute", Resource("agent", agent)) == [alice, bob, root]
    assert await who_may("share", Resource("task", task)) == [alice, root]
    assert await who_may("create_task", Resource("tenant", world.tenant_id)) == [alice, bob, root, mallory]
    assert (await to_remit.lookup_resources(alice, "read", "task")).ids == (task,)
    assert (await to_remit.lookup_resources(bob, "read", "task")).ids == ()
    with pytest.raises(RemoteError) as caught:
        await to_remit.deliver(Delivery(Resource("task", task), 2, 1, gone=True, actor=bob))
    assert caught.value.denied
    await to_remit.deliver(Delivery(Resource("task", task), 2, 1, gone=True, actor=alice))
    assert await who_may("read", Resource("task", task)) == []
    await to_remit.probe([("task", "cancel"), ("agent", "execute"), ("api_key", "delete"), ("schedule", "update")])


async def test_a_principal_made_by_the_caller_is_no_answer(provider: ProviderProcess, world: World) -> None:
    async with remote_to(provider.url) as remote:
        with pytest.raises(RemoteError) as caught:
            await remote.check([Question(world.root.subject, "create_task", Resource("tenant", world.tenant_id))])
    assert caught.value.exception_class == "Unauthenticated"
