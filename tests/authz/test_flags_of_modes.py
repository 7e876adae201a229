"""The rollout's switches from a real OpenFeature provider: raise, cap, and a provider that fails."""

from typing import Any

import pytest
from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.flag_evaluation import FlagResolutionDetails
from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider

from remit.authz.flags import ProviderFlags, read_policy
from remit.authz.modes import ModePolicy, Standing
from remit.settings import Settings

ACME, GLOBEX = "01a21a94-0000-7000-8000-000000000001", "01a21a94-0000-7000-8000-000000000002"
ADOPTED = Standing(None, ever_enforced=False)


class Service:
    """A flag service whose answers tests change."""

    def __init__(self) -> None:
        self.tasks: set[str] = set()
        self.caps: dict[str, str] = {}
        self.down = False
        self.asked = 0

    def _tasks(self, _: Any, context: EvaluationContext) -> FlagResolutionDetails[bool]:
        return FlagResolutionDetails(self._answer(context.targeting_key in self.tasks))

    def _cap(self, _: Any, context: EvaluationContext) -> FlagResolutionDetails[str]:
        return FlagResolutionDetails(self._answer(self.caps.get(str(context.targeting_key), "")))

    def _answer(self, value: Any) -> Any:
        self.asked += 1
        if self.down:
            raise RuntimeError("the flag service is away")
        return value

    def provider(self) -> InMemoryProvider:
        return InMemoryProvider(
            {
                "fgac-tasks-dual-write": InMemoryFlag("off", {"off": False}, context_evaluator=self._tasks),
                "authz-mode-cap": InMemoryFlag("none", {"none": ""}, context_evaluator=self._cap),
            }
        )


SERVICE = Service()


def make_provider() -> InMemoryProvider:
    """What `REMIT_FLAG_PROVIDER` names in these tests."""
    return SERVICE.provider()


@pytest.fixture
def service() -> Service:
    SERVICE.__init__()  # type: ignore[misc]  # each test begins with an empty service
    return SERVICE


@pytest.fixture
def now() -> list[float]:
    return [0.0]


@pytest.fixture
def policy(service: Service, now: list[float]) -> ModePolicy:
    api.set_provider(service.provider(), "remit")
    return ModePolicy(flags=ProviderFlags(api.get_client("remit"), clock=lambda: now[0]))


def test_a_flag_raises_one_tenant_and_one_type(policy: ModePolicy, service: Service) -> None:
    service.tasks = {ACME}
    assert policy.rule(ACME, "task", ADOPTED).mode == "write"
    assert policy.rule(GLOBEX, "task", ADOPTED).mode == "off"
    assert policy.rule(ACME, "agent", ADOPTED).mode == "off"
    assert policy.rule(ACME, "task", Standing("off", ever_enforced=False)).mode == "off", "what is stored comes first"


def test_a_flag_caps_one_tenant(policy: ModePolicy, service: Service) -> None:
    service.caps = {ACME: "write"}
    assert policy.rule(ACME, "task", Standing("shadow", ever_enforced=False)).mode == "write"
    assert policy.rule(ACME, "task", Standing("enforce", ever_enforced=True)).by == "both"
    assert policy.rule(GLOBEX, "task", Standing("enforce", ever_enforced=True)).by == "relationships"


def test_a_change_holds_within_a_second_and_each_question_does_not_ask(
    policy: ModePolicy, service: Service, now: list[float]
) -> None:
    assert policy.rule(ACME, "task", ADOPTED).mode == "off"
    service.tasks = {ACME}
    asked = service.asked
    for _ in range(100):
        assert policy.rule(ACME, "task", ADOPTED).mode == "off"
    assert service.asked == asked
    now[0] += 1.0
    assert policy.rule(ACME, "task", ADOPTED).mode == "write"


def test_a_provider_that_fails_changes_nothing(policy: ModePolicy, service: Service, now: list[float]) -> None:
    service.tasks, service.caps = {ACME}, {ACME: "write"}
    before = policy.rule(ACME, "task", ADOPTED), policy.rule(ACME, "task", Standing("enforce", ever_enforced=True))
    service.down = True
    now[0] += 10.0
    after = policy.rule(ACME, "task", ADOPTED), policy.rule(ACME, "task", Standing("enforce", ever_enforced=True))
    assert before == after


def test_a_text_that_is_no_mode_is_no_cap(policy: ModePolicy, service: Service) -> None:
    service.caps = {ACME: "most"}
    assert policy.rule(ACME, "task", Standing("enforce", ever_enforced=True)).by == "relationships"


def test_the_provider_is_the_one_that_the_settings_name(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(__file__.rpartition("/")[0])
    service.tasks = {ACME}
    policy = read_policy(Settings(flag_provider="test_flags_of_modes:make_provider"), {})
    assert isinstance(policy.flags, ProviderFlags)
    for nowhere in ("nowhere:make", "test_flags_of_modes:absent", "test_flags_of_modes"):
        with pytest.raises(RuntimeError, match="REMIT_FLAG_PROVIDER"):
            read_policy(Settings(flag_provider=nowhere), {})
