"""Opens the accounts that the settings name, each with its vendor's adapter."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

import structlog
from pydantic import ValidationError

from bot.config.accounts import Account, AccountVault
from bot.config.adapter_threads import AdapterThread
from bot.config.complaints import complaint, sentence
from bot.config.encryption import WRONG_KEY, Cipher, WrongKey, is_encrypted
from bot.config.settings import Settings, SettingsError
from bot.domain.clock import Clock, now
from bot.domain.hours import Policy
from bot.domain.hours_defaults import each_resolved
from bot.storage import keys
from bot.storage.database import Database, DatabaseBusy
from providers.base import AccountSettings, Provider
from providers.http import Http
from providers.registry import broken, packages
from providers.registry import providers as known_providers

log = structlog.get_logger(__name__)

MAKING = 10.0  # seconds that making a third-party adapter may take


class KeptSecrets:
    """A vendor's own small secrets, kept in the store under its account's name, encrypted.

    `database`: None if there is none yet.
    """

    def __init__(self, database: Database | None, account: str, clock: Clock, cipher: Cipher) -> None:
        self.database, self.account, self.clock, self.cipher = database, account, clock, cipher

    async def load(self, key: str) -> str | None:
        """Return the secret; None if there is none, or if it cannot be read: then the settings' own is used."""
        name = keys.of_vault(self.account, key)
        if self.database is None:
            return None
        stored = await self.database.read(lambda c: keys.load_kept(c, name))
        if stored is None:
            return None
        if not is_encrypted(stored):  # by an older version, which may still run and could not read it otherwise
            return stored
        try:
            return self.cipher.decrypt(stored, name)
        except WrongKey:
            log.error(f"the {key} of [accounts.{self.account}] {WRONG_KEY}; the one in the settings is used instead")
            return None

    async def save(self, key: str, value: str) -> None:
        if self.database is None:
            raise DatabaseBusy("there is none yet")
        name = keys.of_vault(self.account, key)
        hidden = self.cipher.encrypt(value, name)
        await self.database.write(lambda c: keys.keep(c, name, hidden, self.clock()))


def open_accounts(settings: Settings, database: Database, clock: Clock, key: bytes) -> dict[str, Account]:
    """Open an adapter for each `[accounts.NAME]`. Raises SettingsError naming every setting that is wrong.

    `key`: under which what they keep is encrypted.
    """
    accounts, wrong = open_each(settings, database, clock, key)
    if wrong:
        for account in accounts.values():
            account.leave()
        raise SettingsError(wrong)
    return accounts


def open_each(
    settings: Settings, database: Database | None, clock: Clock, key: bytes
) -> tuple[dict[str, Account], list[str]]:
    """Open an adapter for each account that can have one. Return them, and what is wrong with the others."""
    cipher = Cipher(key, "accounts")
    known, accounts, wrong = known_providers(), dict[str, Account](), list[str]()
    for name, raw in settings.accounts.items():
        wanted = str(raw.get("provider"))
        vendor = known.get(wanted)
        if vendor is None:
            wrong.append(_no_provider(settings, name, wanted))
            continue
        opened = open_account(name, vendor, raw, settings, KeptSecrets(database, name, clock, cipher))
        if isinstance(opened, Account):
            accounts[name] = opened
        else:
            wrong += opened
    return accounts, wrong


def _no_provider(settings: Settings, name: str, wanted: str) -> str:
    written, steps = settings.written(), ("accounts", name, "provider")
    known = ", ".join(sorted(known_providers()))
    if wanted in broken:
        return f"{written.named(steps)}: it cannot be used ({broken[wanted]}); choose one of {known}."
    near = difflib.get_close_matches(wanted, known_providers(), n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    what = "there is no such provider" if "provider" in settings.accounts[name] else "it is missing"
    return f"{written.named(steps)}: {what}; choose one of {known}.{hint}"


def all_placeholders() -> frozenset[str]:
    """Return the placeholders of all vendors. Another vendor would not fill them in, and people would read them."""
    fields = (field for vendor in known_providers().values() for field in vendor.capabilities.placeholders)
    return frozenset(field for field in fields if isinstance(field, str) and len(field) > 2)


def open_account(
    name: str, vendor: type[Provider], raw: Mapping[str, Any], settings: Settings, vault: KeptSecrets
) -> Account | list[str]:
    """Return the account with its adapter, or what is wrong with it.

    A third-party adapter gets its own thread, where it cannot delay others, not even while it is made.
    """
    package = packages.get(str(raw["provider"]))
    if package is None:
        return _opened(name, vendor, raw, settings, AccountVault(vault))
    thread = AdapterThread(name)
    kept = AccountVault(vault, thread)
    try:
        opened = thread.do(lambda: _opened(name, vendor, raw, settings, kept, package, thread), MAKING)
    except Exception as error:
        why = f"it took longer than {MAKING:.0f} seconds" if isinstance(error, TimeoutError) else type(error).__name__
        opened = [_cannot_be_made(name, raw, why)]
    if not isinstance(opened, Account):
        thread.close()
    return opened


def _opened(
    name: str,
    vendor: type[Provider],
    raw: Mapping[str, Any],
    settings: Settings,
    vault: AccountVault,
    package: str = "bellcrier",
    thread: AdapterThread | None = None,
) -> Account | list[str]:
    try:
        account = vendor.Settings.model_validate(raw)
        transport = _road(account, settings)
        if isinstance(transport, str):
            return [f"{settings.written().named(('accounts', name, 'base_url'))}: {transport}"]
        return Account(vendor(name, account, transport, vault), package, thread)
    except ValidationError as error:
        details = error.errors(include_input=False, include_url=False)
        return [complaint(detail, settings.written(), ("accounts", name), vendor.Settings) for detail in details]
    except BaseException as error:
        if thread is None and not isinstance(error, Exception):
            raise
        return [_cannot_be_made(name, raw, f"{type(error).__name__}: {error}")]


def _road(account: AccountSettings, settings: Settings) -> Http | str:
    """Return the account's transport, or why its address is not allowed."""
    try:
        return Http(
            account.base_url,
            account.timeout,
            account.requests_per_second,
            allow_private_hosts=settings.allow_private_hosts,
            allowed_hosts=frozenset({"127.0.0.1", "localhost", "::1"}) if settings.mode == "training" else None,
        )
    except ValueError as error:
        return str(error)


def _cannot_be_made(name: str, raw: Mapping[str, Any], why: str) -> str:
    return f"accounts.{name}: the adapter of {raw['provider']} cannot be made ({why})."


def policies_of(settings: Settings) -> dict[str, Policy]:
    """Return the sending policies. Raises SettingsError, also if an audience names an unknown one."""
    policies, wrong = each_policy(settings)
    if wrong:
        raise SettingsError([*wrong, *wrong_accounts(settings)])
    return policies


def each_policy(settings: Settings) -> tuple[dict[str, Policy], list[str]]:
    """Return the sending policies, and what is wrong with those that cannot be used."""
    policies, wrong = each_resolved(settings.policies)
    written = settings.written()
    lines = [sentence(written, ("policies", *steps), what) for steps, what in wrong]
    unknown = [
        name
        for name, audience in settings.audiences.items()
        if audience.policy is not None and audience.policy not in {*policies, *settings.policies}
    ]
    known = f"there is no such policy; there are: {', '.join(sorted(policies))}"
    return policies, lines + [sentence(written, ("audiences", name, "policy"), known) for name in unknown]


def wrong_accounts(settings: Settings) -> list[str]:
    """Return what is wrong with the accounts, without keeping any."""
    accounts, wrong = open_each(settings, None, now, b"")
    for account in accounts.values():
        account.leave()
    return wrong


def wrong_with_accounts_and_policies(settings: Settings) -> list[str]:
    return [*each_policy(settings)[1], *wrong_accounts(settings)]
