"""An authenticating proxy in front of the server: believed where it is switched on, from its address, with its secret.

Without the secret its headers are names that anybody could write, and are read by nobody.
"""

import hmac
from ipaddress import ip_address

from fastapi import Request

from remit.errors import Unauthenticated
from remit.identity.bearer_tokens import Identity
from remit.identity.subjects import LONGEST_NAME
from remit.settings import TrustedProxy


def read_proxy_identity(request: Request, proxy: TrustedProxy) -> Identity | None:
    """Whom the proxy has authenticated; None where the request does not say that it comes from the proxy.

    Raises:
        Unauthenticated: it says so and it is not true, or the proxy named nobody properly.
    """
    shown = request.headers.getlist(proxy.secret_header)
    if not shown:
        return None
    secret = proxy.secret.get_secret_value().encode()
    right = len(shown) == 1 and hmac.compare_digest(shown[0].encode(), secret)
    if not right or not _comes_from(request, proxy):
        raise Unauthenticated("The request does not come from the trusted proxy.")
    name = _read_one(request, proxy.user_header)
    if name is None:
        return None
    tenant = _read_one(request, proxy.tenant_header) if proxy.tenant_header else proxy.tenant
    return Identity(
        issuer=proxy.issuer,
        kind="user",
        name=name,
        tenants=(tenant,) if tenant else (),
        joined=proxy.tenant_header is None,
        role=proxy.role,
    )


def _comes_from(request: Request, proxy: TrustedProxy) -> bool:
    try:
        address = ip_address(request.client.host) if request.client else None
    except ValueError:
        return False
    return address is not None and any(address in network for network in proxy.addresses)


def _read_one(request: Request, header: str) -> str | None:
    values = request.headers.getlist(header)
    if not values:
        return None
    value = values[0].strip()
    if len(values) > 1 or not value or len(value) > LONGEST_NAME or not value.isprintable():
        raise Unauthenticated(f"The trusted proxy sent no usable {header}.")
    return value
