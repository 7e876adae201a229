"""Asking an engine elsewhere: in its names, in bounded time, and never reading trouble as an answer."""

import asyncio
from collections.abc import Sequence

import structlog

from remit.authz.errors import AuthzError
from remit.authz.model import Resource, Subject
from remit.authz.remote import Question, Remote, RemoteError, ResourcePage
from remit.authz.subject_names import SubjectNames
from remit.errors import AuthorizationUnavailable, RemitError, Unauthenticated
from remit.identity.principal import Principal

log = structlog.get_logger(__name__)


class Elsewhere:
    """An engine elsewhere, as requests ask it. No database connection is held while it is awaited.

    Args:
        remote: the engine.
        names: what it calls subjects.
        seconds: the time for one call.
    """

    def __init__(self, remote: Remote, names: SubjectNames, seconds: float) -> None:
        self.remote = remote
        self._names = names
        self._seconds = seconds

    def answers(self, principal: Principal) -> bool:
        """Whether it is asked about a principal."""
        return self.remote.knows_agents or principal.kind != "agent"

    async def check(
        self, principal: Principal, questions: Sequence[tuple[str, Resource]], at_least: str | None
    ) -> list[bool]:
        """The engine's answers, in the order asked.

        Args:
            principal: who.
            questions: permission and resource of each.
            at_least: a zedtoken: the answers are at least as fresh; without one, as fresh as can be.

        Raises:
            AuthorizationUnavailable: there is no answer.
            Unauthenticated: an auth provider does not accept the principal any more.
        """
        subject = self._name(principal)
        asked = [Question(subject, permission, resource) for permission, resource in questions]
        try:
            async with asyncio.timeout(self._seconds):
                answers = await self.remote.check(asked, at_least=at_least)
        except (TimeoutError, AuthzError) as error:
            raise _no_answer(error) from error
        if len(answers) != len(asked):
            raise _no_answer(RuntimeError(f"{len(answers)} answers to {len(asked)} questions"))
        return [answer is True for answer in answers]

    async def lookup(
        self, principal: Principal, permission: str, resource_type: str, cursor: str | None
    ) -> ResourcePage:
        """A page of the resources on which the principal holds a permission, as fresh as can be.

        Raises:
            AuthorizationUnavailable, Unauthenticated: as `check`.
        """
        try:
            async with asyncio.timeout(self._seconds):
                return await self.remote.lookup_resources(
                    self._name(principal), permission, resource_type, cursor=cursor
                )
        except (TimeoutError, AuthzError) as error:
            raise _no_answer(error) from error

    def _name(self, principal: Principal) -> Subject:
        return self._names.name(Subject(principal.kind, principal.id), principal.name)


def _no_answer(error: Exception) -> RemitError:
    if isinstance(error, RemoteError) and error.exception_class == "Unauthenticated":
        return Unauthenticated("The auth provider does not accept your credential any more.")
    log.warning("the authorization engine gave no answer", cause=repr(error))
    return AuthorizationUnavailable("Authorization cannot be decided at the moment; nothing was done. Try again.")
