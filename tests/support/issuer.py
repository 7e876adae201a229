"""An identity provider: keys of its own, and an HTTP server in the test's event loop that shows the public ones."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

AUDIENCE = "remit"


@dataclass
class Issuer:
    """The provider. `answer` is what `/keys` says, None for an answer with the status 500."""

    url: str = ""
    keys: dict[str, Any] = field(default_factory=dict)
    published: list[dict[str, Any]] = field(default_factory=list)
    fetches: int = 0
    away: bool = False

    def add_key(self, kid: str, *, rsa_key: bool = False, publish: bool = True) -> None:
        key: Any = rsa.generate_private_key(65537, 2048) if rsa_key else ec.generate_private_key(ec.SECP256R1())
        public = (RSAAlgorithm if rsa_key else ECAlgorithm).to_jwk(key.public_key(), as_dict=True)
        self.keys[kid] = key
        if publish:
            self.published.append({**public, "kid": kid, "use": "sig"})

    def token(self, sub: str = "alice", *, kid: str = "k1", alg: str = "ES256", **claims: Any) -> str:
        """A signed token; a claim of None is left out."""
        now = int(time.time())
        body = {"iss": self.url, "aud": AUDIENCE, "sub": sub, "iat": now, "exp": now + 300, **claims}
        body = {name: value for name, value in body.items() if value is not None}
        return jwt.encode(body, self.keys[kid], algorithm=alg, headers={"kid": kid})

    def provider(self, **more: Any) -> dict[str, Any]:
        """The setting that makes a server accept its tokens."""
        return {
            "issuer": self.url,
            "audience": AUDIENCE,
            "jwks_url": f"{self.url}/keys",
            "tenant_claim": "tenants",
            "refetch_seconds": 0,
            **more,
        }

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        path = head.split(" ")[1]
        if path == "/keys":
            self.fetches += 1
        values = {
            "/keys": {"keys": self.published},
            "/.well-known/openid-configuration": {"issuer": self.url, "jwks_uri": f"{self.url}/keys"},
        }
        body = json.dumps(values.get(path, {})).encode()
        status = b"500 No" if self.away else b"200 OK"
        writer.write(
            b"HTTP/1.1 " + status + f"\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body
        )
        await writer.drain()
        writer.close()


@asynccontextmanager
async def run_issuer() -> AsyncIterator[Issuer]:
    """An issuer with the key `k1`."""
    issuer = Issuer()
    server = await asyncio.start_server(issuer.serve, "127.0.0.1", 0)
    issuer.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    issuer.add_key("k1")
    try:
        yield issuer
    finally:
        server.close()
