"""Tokens are stored encrypted, and a change of key loses nothing that the settings do not hold."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from bot.adapters import KeptSecrets
from bot.config.encryption import Cipher, WrongKey, is_encrypted
from bot.domain.clock import now
from bot.storage import keys
from bot.storage.database import Database

NAME = keys.of_vault("kaizala", "refresh_token")


def vault(database: Database, key: bytes = b"k" * 32) -> KeptSecrets:
    return KeptSecrets(database, "kaizala", now, Cipher(key, "accounts"))


async def stored(database: Database) -> Any:
    return await database.read(lambda c: keys.load_kept(c, NAME))


async def test_a_vendors_token_is_not_readable_in_the_database(database: Database) -> None:
    await vault(database).save("refresh_token", "very secret")
    assert await vault(database).load("refresh_token") == "very secret"
    first = await stored(database)
    assert is_encrypted(first)
    assert "secret" not in first
    await vault(database).save("refresh_token", "very secret")
    assert await stored(database) != first  # nor can anybody see that it is the same


async def test_a_token_of_an_older_version_stays_readable_for_it_until_there_is_the_next_one(
    database: Database,
) -> None:
    await database.write(lambda c: keys.keep(c, NAME, "plain old", now()))
    assert await vault(database).load("refresh_token") == "plain old"
    assert await stored(database) == "plain old"  # which a process of the older version sends as it is
    await vault(database).save("refresh_token", "next")
    assert is_encrypted(await stored(database))
    assert await vault(database).load("refresh_token") == "next"


async def test_another_key_is_told_and_the_settings_token_is_used(database: Database) -> None:
    await vault(database).save("refresh_token", "very secret")
    with capture_logs() as log:
        assert await vault(database, b"o" * 32).load("refresh_token") is None
    (line,) = log
    assert "under another secret_key" in line["event"]
    assert "[accounts.kaizala]" in line["event"]
    await vault(database, b"o" * 32).save("refresh_token", "new")
    assert await vault(database, b"o" * 32).load("refresh_token") == "new"


@pytest.mark.parametrize(
    "spoil",
    {
        "another row": lambda hidden: (hidden, "vault:other:refresh_token"),
        "a byte": lambda hidden: (hidden[:-6] + ("A" if hidden[-6] != "A" else "B") + hidden[-5:], NAME),
        "cut": lambda hidden: (hidden[:20], NAME),
        "no base64": lambda hidden: ("enc1:!", NAME),
        "empty": lambda hidden: ("enc1:", NAME),
    }.values(),
)
def test_what_was_changed_or_moved_cannot_be_read(spoil: Any) -> None:
    cipher = Cipher(b"k" * 32, "accounts")
    with pytest.raises(WrongKey):
        cipher.decrypt(*spoil(cipher.encrypt("secret", NAME)))


def test_each_purpose_has_its_own_key() -> None:
    hidden = Cipher(b"k" * 32, "accounts").encrypt("secret", NAME)
    with pytest.raises(WrongKey):
        Cipher(b"k" * 32, "workspaces").decrypt(hidden, NAME)
