"""Numbers as they are stored: as keyed hashes, which tell two apart but cannot be rung."""

from __future__ import annotations

import hmac

from providers.reading import number_of


def hashed_number(key: bytes, recipient: str, reply: str | None = None) -> str:
    """Return the hash of a number or a name; empty where the vendor gives none.

    A number is hashed as `+33612345678`, however the vendor writes it. What follows the colon tells the replies of one
    person apart.
    """
    number, name = number_of(recipient), recipient.strip()
    if not name:
        return ""
    whose = _hashed(key, f"number:{f'+{number}' if number else name}:")
    return f"{whose}:{_hashed(key, f'reply:{reply}')[:16]}" if reply else whose


def _hashed(key: bytes, named: str) -> str:
    return hmac.digest(key, named.encode(errors="replace"), "sha256").hex()[:32]
