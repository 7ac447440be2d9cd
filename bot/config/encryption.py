"""Encrypts the tokens that the bot stores, under the `secret_key`."""

from __future__ import annotations

import base64
import secrets
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

PREFIX = "enc1:"  # how it is encrypted; another way gets another number
NONCE = 12  # bytes, at random for each value
WRONG_KEY = "was stored under another secret_key, or is damaged"


class WrongKey(Exception):
    """What is stored cannot be decrypted: it was stored under another `secret_key`, or it is damaged."""


class Cipher:
    """AES-256-GCM, with a key of its own for each purpose (HKDF, RFC 5869).

    `key`: the bytes of `secret_key`. What is encrypted is bound to its name: moved to another row it cannot be read.
    """

    def __init__(self, key: bytes, purpose: str) -> None:
        self.key, self.purpose = key, purpose

    @cached_property
    def _aes(self) -> AESGCM:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # a fifth of a start that may not need it
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        return AESGCM(HKDF(SHA256(), 32, salt=None, info=f"bellcrier {self.purpose}".encode()).derive(self.key))

    def encrypt(self, plain: str, name: str) -> str:
        nonce = secrets.token_bytes(NONCE)
        hidden = nonce + self._aes.encrypt(nonce, plain.encode(), name.encode())
        return PREFIX + base64.b64encode(hidden).decode()

    def decrypt(self, stored: str, name: str) -> str:
        """Raises WrongKey."""
        from cryptography.exceptions import InvalidTag

        try:
            hidden = base64.b64decode(stored.removeprefix(PREFIX), validate=True)
            return self._aes.decrypt(hidden[:NONCE], hidden[NONCE:], name.encode()).decode()
        except (InvalidTag, ValueError):
            raise WrongKey(name) from None


def is_encrypted(stored: str) -> bool:
    """Whether it was encrypted here. What older versions stored is plain."""
    return stored.startswith(PREFIX)
