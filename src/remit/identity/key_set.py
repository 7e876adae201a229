"""The public keys of an identity provider, fetched when they are needed and kept for a while.

A key that is not known makes the set be fetched again, at most once in `refetch_seconds`, so that a provider may rotate
its keys and a stranger with made-up key ids cannot make this server call it for each request. While the set cannot be
fetched, the keys known so far are good for an hour; what cannot be decided without it is `Unavailable`, no refusal.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import httpx
import jwt
import structlog

from remit.errors import Unauthenticated, Unavailable
from remit.settings import IdentityProvider, is_safe_url

log = structlog.get_logger(__name__)

FRESH_SECONDS = 300.0
LONGEST_STALE_SECONDS = 3600.0
FETCH_SECONDS = 3.0
LARGEST_ANSWER = 512 * 1024


class KeySet:
    """The keys of one provider.

    Args:
        provider: whose.
        http: the way to it.
        clock: seconds, growing.
    """

    def __init__(
        self, provider: IdentityProvider, http: httpx.AsyncClient, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._provider = provider
        self._http = http
        self._clock = clock
        self._keys: list[tuple[dict[str, Any], jwt.PyJWK]] = []
        self._fetched: float | None = None
        self._tried: float | None = None
        self._failed = False
        self._lock = asyncio.Lock()

    async def find(self, kid: str | None, algorithm: str) -> Any:
        """The key that a token names.

        Args:
            kid: its id; None where the token has none, which takes a provider with a single key.
            algorithm: of the signature.

        Raises:
            Unauthenticated: the provider has no such key.
            Unavailable: the set cannot be fetched, so nobody knows.
        """
        key = self._pick(kid, algorithm)
        if key is None or self._age() > FRESH_SECONDS:
            await self._refresh()
            key = self._pick(kid, algorithm)
        if key is not None and self._age() <= LONGEST_STALE_SECONDS:
            return key
        if self._failed or self._fetched is None:
            raise Unavailable("The keys of the identity provider cannot be fetched at the moment; try again.")
        raise Unauthenticated("The token is not signed by a key of its issuer.")

    def _age(self) -> float:
        return float("inf") if self._fetched is None else self._clock() - self._fetched

    def _pick(self, kid: str | None, algorithm: str) -> Any:
        fitting = [
            key.key
            for raw, key in self._keys
            if (kid is None or raw.get("kid") == kid) and raw.get("alg", algorithm) == algorithm
        ]
        return fitting[0] if len(fitting) == 1 else None

    async def _refresh(self) -> None:
        async with self._lock:
            now = self._clock()
            if self._tried is not None and now - self._tried < self._provider.refetch_seconds:
                return
            self._tried = now
            try:
                self._keys = _read_keys(await self._fetch())
            except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, KeyError, TypeError) as error:
                self._failed = True
                log.warning("keys of an identity provider", issuer=self._provider.issuer, cause=repr(error))
                return
            self._fetched, self._failed = self._clock(), False

    async def _fetch(self) -> dict[str, Any]:
        url = self._provider.jwks_url
        if url is None:
            # OpenID Connect Discovery 1.0 §4
            about = await self._get(self._provider.issuer.rstrip("/") + "/.well-known/openid-configuration")
            url = about["jwks_uri"]
            if about.get("issuer") != self._provider.issuer or not is_safe_url(url):
                raise ValueError("the discovery document names another issuer, or an address that is not safe")
        return await self._get(url)

    async def _get(self, url: str) -> dict[str, Any]:
        async with (
            asyncio.timeout(FETCH_SECONDS + 1),
            self._http.stream("GET", url, timeout=FETCH_SECONDS) as response,
        ):
            body = b""
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > LARGEST_ANSWER:
                    raise ValueError("the answer is too large")
        if response.status_code != httpx.codes.OK:
            raise ValueError(f"the answer has the status {response.status_code}")
        value = httpx.Response(200, content=body).json()
        if not isinstance(value, dict):
            raise TypeError("the answer is no JSON object")
        return value


def _read_keys(key_set: dict[str, Any]) -> list[tuple[dict[str, Any], jwt.PyJWK]]:
    """The keys of a set (RFC 7517) that can verify: public ones, for signatures. Others are left out."""
    keys = []
    for raw in key_set["keys"]:
        if raw.get("kty") == "oct" or "d" in raw or raw.get("use", "sig") != "sig":
            continue
        try:
            keys.append((raw, jwt.PyJWK.from_dict(raw)))
        except jwt.PyJWTError:
            continue
    return keys
