"""The rollout's switches: those of the environment, and those of an OpenFeature provider, which speaks of one tenant.

A provider's flags have the names of the environment's switches: `fgac-tasks-dual-write` and
`fgac-agent-api-keys-dual-write` (boolean) raise an adopted tenant from `off` to `write`, `authz-mode-cap` (a mode,
empty for none) caps it. The tenant's id is the targeting key, the type is the attribute `resource_type`. A provider
that fails changes nothing: what it said last holds.
"""

import importlib
import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import structlog

from remit.authz.modes import MODES, Mode, ModePolicy, NoFlags

if TYPE_CHECKING:
    from openfeature.client import OpenFeatureClient

    from remit.settings import Settings

log = structlog.get_logger(__name__)

KEPT_SECONDS: Final = 0.5
DOMAIN: Final = "remit"
CAP: Final = "authz-mode-cap"
# The peer's names of the switch that turns on dual writes, as the environment has them; a flag's is the same in kebab.
ALIASES: Final[Mapping[str, str]] = {"FGAC_TASKS_DUAL_WRITE": "task", "FGAC_AGENT_API_KEYS_DUAL_WRITE": "api_key"}
_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FLAG_OF: Final = {type: name.lower().replace("_", "-") for name, type in ALIASES.items()}


class ProviderFlags:
    """Asks an OpenFeature provider, at most twice a second for each tenant and type.

    Args:
        client: of the provider.
        clock: seconds that only go forward.
    """

    def __init__(self, client: "OpenFeatureClient", clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._said: dict[tuple[str, str, str], tuple[float, Any]] = {}

    @classmethod
    def open(cls, place: str) -> "ProviderFlags":
        """Use the provider that a function makes.

        Args:
            place: the function, as `package.module:function`; called once, without arguments.

        Raises:
            RuntimeError: the extra is missing, or there is no such function.
        """
        try:
            from openfeature import api
        except ImportError as error:
            raise RuntimeError('REMIT_FLAG_PROVIDER needs the extra: pip install "remit[flags]"') from error
        module, _, name = place.partition(":")
        try:
            make_provider = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise RuntimeError(
                f"REMIT_FLAG_PROVIDER={place} is no function that can be imported; name one as package.module:function"
            ) from error
        api.set_provider(make_provider(), DOMAIN)
        return cls(api.get_client(DOMAIN))

    def raises(self, tenant_id: str, resource_type: str) -> bool:
        """Whether an adopted tenant without a stored mode is in `write`."""
        flag = _FLAG_OF.get(resource_type)
        return flag is not None and self._ask(flag, tenant_id, resource_type, False) is True

    def cap(self, tenant_id: str, resource_type: str) -> Mode | None:
        """The furthest mode that the tenant may have; a text that is no mode is no cap, and is logged."""
        said = self._ask(CAP, tenant_id, resource_type, "")
        for mode in MODES:
            if said == mode:
                return mode
        if said:
            log.warning("a flag names no mode", flag=CAP, said=str(said)[:100])
        return None

    def _ask(self, flag: str, tenant_id: str, resource_type: str, default: bool | str) -> Any:
        key = (flag, tenant_id, resource_type)
        asked, known = self._said.get(key, (float("-inf"), default))
        now = self._clock()
        if now - asked < KEPT_SECONDS:
            return known
        from openfeature.evaluation_context import EvaluationContext

        context = EvaluationContext(tenant_id, {"resource_type": resource_type})
        details = (
            self._client.get_boolean_details(flag, known, context)
            if isinstance(default, bool)
            else self._client.get_string_details(flag, known, context)
        )
        if details.error_code is not None and details.error_code != "FLAG_NOT_FOUND":
            log.warning(
                "the flag provider gave no answer; what it said last holds", flag=flag, error=details.error_code
            )
        self._said[key] = (now, details.value)
        return details.value


def read_policy(settings: "Settings", environment: Mapping[str, str] | None = None) -> ModePolicy:
    """What the environment and the flag provider add to the stored modes, read once when a process starts.

    Args:
        settings: the process's settings.
        environment: where the aliases are; by default the process's own.

    Raises:
        RuntimeError: the flag provider that the settings name is not to be had.
    """
    variables = os.environ if environment is None else environment
    raised = {type for name, type in ALIASES.items() if variables.get(name, "").strip().lower() in _TRUE}
    flags = ProviderFlags.open(settings.flag_provider) if settings.flag_provider else NoFlags()
    return ModePolicy(settings.authz_mode_cap, frozenset(raised), flags)
