"""Secrets that must be read back: encrypted with a key made from `REMIT_SECRET_KEY`, never stored in the clear."""

import base64

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from remit.errors import RemitError
from remit.settings import Settings

_PURPOSE = b"remit signing secrets v1"


class SecretKeyMissing(RemitError):
    """The server has no key to encrypt with, or not the one that a secret was encrypted with."""

    status, problem, title = 503, "secret-key-missing", "The server cannot keep secrets"
    retry = False


class SecretBox:
    """Encrypts and decrypts.

    Args:
        settings: for `secret_key`.

    Raises:
        SecretKeyMissing: there is none.
    """

    def __init__(self, settings: Settings) -> None:
        if settings.secret_key is None:
            raise SecretKeyMissing(
                "Secrets that must be read back are kept encrypted. "
                "Set REMIT_SECRET_KEY in the server's environment, and try again."
            )
        # No other use of the setting can read or make what is encrypted here (HKDF, RFC 5869).
        key = HKDF(SHA256(), 32, salt=None, info=_PURPOSE).derive(settings.secret_key.get_secret_value().encode())
        self._fernet = Fernet(base64.urlsafe_b64encode(key))

    def encrypt(self, secret: str) -> bytes:
        """What is stored."""
        return self._fernet.encrypt(secret.encode())

    def decrypt(self, stored: bytes) -> bytes:
        """The secret again.

        Raises:
            SecretKeyMissing: another key encrypted it.
        """
        try:
            return self._fernet.decrypt(stored)
        except InvalidToken as error:
            raise SecretKeyMissing("A secret was encrypted with another REMIT_SECRET_KEY.") from error
