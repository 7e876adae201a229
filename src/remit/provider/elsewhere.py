"""Engines elsewhere behind the provider: asked where an account's flags say so, and told of its resources.

Nothing here runs while a connection of the database is held.
"""

from dataclasses import dataclass

from remit.authz.http import HttpRemote
from remit.authz.load import open_remote
from remit.authz.model import Relationship, Resource, Subject
from remit.authz.postgres import PostgresEngine
from remit.authz.remote import Delivery, Question, Remote, RemoteError
from remit.authz.subject_names import SubjectNames
from remit.errors import Forbidden, Unavailable
from remit.provider.flags import RemoteBackend
from remit.provider.names import to_selector
from remit.provider.questions import question_of
from remit.provider.standing import Asker
from remit.settings import Settings


async def open_remotes(settings: Settings, engine: PostgresEngine) -> dict[str, Remote]:
    """The engines elsewhere that the settings name: an auth provider, and the SpiceDB that the installation keeps.

    Raises:
        RuntimeError: a setting or an extra is missing.
    """
    remotes: dict[str, Remote] = {}
    if settings.authz_url is not None:
        remotes["http"] = HttpRemote.open(settings)
    if settings.authz_engine == "spicedb":
        spicedb = await open_remote(settings, engine)
        assert spicedb is not None, "the settings name it"
        remotes["spicedb"] = spicedb
    return remotes


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """One engine elsewhere, for one principal. Subjects go there under their external ids.

    Attributes:
        name: the engine's name in flags.
        remote: the engine.
        subject: who asks, by the name that he has there.
        account_id: in which account.
    """

    name: RemoteBackend
    remote: Remote
    subject: Subject
    account_id: str

    @classmethod
    def of(cls, asker: Asker, name: RemoteBackend) -> "Elsewhere":
        """The engine of a name.

        Raises:
            Unavailable: the account's flags name one that this process does not have.
        """
        remote = asker.provider.remotes.get(name)
        if remote is None:
            raise Unavailable("This account's authorization engine is not set up in this process.")
        if isinstance(remote, HttpRemote):
            remote = remote.in_account(asker.account_id)
        names = SubjectNames(asker.provider.settings.authz_subject_ids)
        return cls(name, remote, names.name(asker.subject, asker.name), asker.account_id)

    async def check(self, type: str, selector: str, operation: str) -> bool:
        """May the principal do the operation?

        Raises:
            RemoteError: no answer.
        """
        question = question_of(self.account_id, type, selector, operation)
        if question is None:
            return False
        permission, resource = question
        return (await self.remote.check([Question(self.subject, permission, self._there(resource))]))[0]

    async def search(self, type: str, operation: str) -> list[str]:
        """The caller's ids of all resources of a type on which the principal may do the operation.

        Raises:
            RemoteError: no answer, or one that cannot be told: all resources of all accounts.
        """
        found: dict[str, None] = {}  # SpiceDB may list one more than once
        cursor: str | None = None
        while True:
            page = await self.remote.lookup_resources(self.subject, operation, type, cursor=cursor)
            if page.unscoped:
                raise RemoteError(
                    "the engine says `all`, which callers would take for all accounts",
                    transient=False,
                    exception_class="Unscoped",
                )
            found.update(dict.fromkeys(selector for id in page.ids if (selector := self._here(id)) is not None))
            cursor = page.cursor
            if cursor is None:
                return list(found)

    async def register(self, resource: Resource, parent: tuple[str, str] | None) -> None:
        """Tell of a resource that is registered here.

        Raises:
            Forbidden: the engine refuses.
            RemoteError: unknown whether it was told.
        """
        there = self._there(resource)
        touch = [
            Relationship(there, "tenant", Subject("tenant", self.account_id)),
            Relationship(there, "owner", self.subject),
        ]
        if parent is not None:
            above = question_of(self.account_id, *parent, "read")
            if above is not None:
                touch.append(Relationship(there, "parent_agent", Subject("agent", self._there(above[1]).id)))
        await self._deliver(Delivery(there, 1, None, touch=tuple(touch), actor=self.subject))

    async def remove(self, resource: Resource) -> None:
        """Tell of a resource that is to be removed here.

        Raises:
            Forbidden, RemoteError: as `register`.
        """
        await self._deliver(Delivery(self._there(resource), 2, 1, gone=True, actor=self.subject))

    async def _deliver(self, delivery: Delivery) -> None:
        try:
            await self.remote.deliver(delivery)
        except RemoteError as error:
            if error.denied:
                raise Forbidden(f"You may not do this with this {delivery.resource.type}.") from error
            raise

    def _there(self, resource: Resource) -> Resource:
        # Another provider knows the caller's own ids, within the account of the principal; a graph knows those of here.
        selector = to_selector(self.account_id, resource.id) if self.name == "http" else None
        return resource if selector is None else Resource(resource.type, selector)

    def _here(self, id: str) -> str | None:
        return id if self.name == "http" else to_selector(self.account_id, id)
