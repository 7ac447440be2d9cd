"""Checks of the accounts: credentials, credit, callbacks, and the public address that vendors call."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

from bot.config.accounts import Account
from bot.config.settings import AudienceSettings
from bot.doctor.findings import Finding, Setup, one
from bot.domain.broadcast import MOST_IN_A_TEST
from bot.sending.credit import is_low, last_cost, shown
from bot.sending.tokens import callback_address
from bot.storage import keys
from bot.web.sites import GREETING
from providers.base import ProviderError, Receipts
from providers.http import Http

ASKING = 10.0  # seconds for the public address to answer
NAMED = 5  # ids of a vendor's audiences that a finding names


async def check_accounts(setup: Setup) -> AsyncIterator[Finding]:
    for name, account in setup.accounts.items():
        yield (found := await one(f"accounts.{name}", _account(setup, name, account)))
        if account.capabilities.discovers and found.level != "error":
            for unknown in await _unknown_audiences(setup, name, account):
                yield unknown
        if package := await _unasked(setup, name):
            cause = f"{package} sends without asking first whether it still may, so a pause cannot stop it in time."
            fix = "Let its author read the rules of docs/adding-a-provider.md."
            yield Finding(f"accounts.{name}.adapter", "warning", cause, fix)
        if account.settings.test_audience in setup.settings.audiences:
            yield _test_audience(setup, name, account.settings.test_audience)
        if account.capabilities.legacy:
            fix = "Move its audiences to another vendor."
            yield Finding(f"accounts.{name}.legacy", "warning", account.capabilities.legacy, fix)


async def _account(setup: Setup, name: str, account: Account) -> Finding:
    try:
        check = await account.check()
    except ProviderError as error:
        setting = f"accounts.{name}.{error.setting or 'base_url'}"
        return Finding(f"accounts.{name}", "error", str(error), f"Look at {setting}.")
    if check.credit is None:
        return Finding(f"accounts.{name}", "ok", f"{account.title} takes the credentials.")
    cost = await _last_cost(setup, name)
    if not is_low(check, account.settings, cost):
        return Finding(f"accounts.{name}", "ok", f"{account.title} takes the credentials. Credit: {shown(check)}.")
    least = account.settings.low_credit
    why = (
        f"less than accounts.{name}.low_credit" if least is not None else f"less than the last broadcast cost ({cost})"
    )
    cause = f"The credit at {account.title} is {shown(check)}, {why}."
    return Finding(f"accounts.{name}.credit", "warning", cause, "Top it up at the vendor.")


async def _last_cost(setup: Setup, account: str) -> str | None:
    workspace = setup.people.workspace if setup.people is not None else ""
    if setup.database is None or not workspace:
        return None
    try:
        return await setup.database.read(lambda c: last_cost(c, workspace, account))
    except Exception:  # the database has its own finding
        return None


def _test_audience(setup: Setup, account: str, name: str) -> Finding:
    most, finding = setup.settings.audiences[name].max_size, f"accounts.{account}.test_audience"
    if most is not None and most <= MOST_IN_A_TEST:
        return Finding(finding, "ok", f"Tests go to {name}, at most {most} people.")
    cause = f"Tests go to {name}. They need approval unless the vendor says that at most {MOST_IN_A_TEST} get them."
    return Finding(finding, "warning", cause, f"Set audiences.{name}.max_size.")


async def _unasked(setup: Setup, account: str) -> str | None:
    """Return the package, if it released without asking the last time."""
    if setup.database is None:
        return None
    try:
        return await setup.database.read(lambda c: keys.load_kept(c, keys.of_unasked(account)))
    except Exception:  # the database has its own finding
        return None


async def _unknown_audiences(setup: Setup, name: str, account: Account) -> list[Finding]:
    """Return a finding for each audience of this account that its vendor does not list."""
    try:
        listed = await account.audiences()
    except Exception as error:  # anybody may have written the adapter
        cause = f"{account.title} did not list its audiences ({type(error).__name__})."
        return [Finding(f"accounts.{name}.audiences", "warning", cause, "Run doctor again.")]
    findings = []
    for ours, audience in setup.settings.audiences.items():
        ids = [one.id for one in listed if one.kind is audience.kind]
        if audience.account != name or not _may_be(audience, account) or _is_one_of(audience.id, ids):
            continue
        cause = f"{account.title} has no {audience.kind} {audience.id}; it has {_some(ids)}."
        findings.append(Finding(f"audiences.{ours}.id", "warning", cause, "Copy the id from the vendor's page."))
    return findings


def _may_be(audience: AudienceSettings, account: Account) -> bool:
    """Whether the vendor could have such an audience at all. If not, that is a finding about the settings."""
    able = account.capabilities
    return audience.kind in able.audiences and (not able.id_pattern or bool(re.fullmatch(able.id_pattern, audience.id)))


def _is_one_of(id: str, ids: list[str]) -> bool:
    return id.strip().casefold() in {one.casefold() for one in ids}


def _some(ids: list[str]) -> str:
    more = f" and {len(ids) - NAMED} more" if len(ids) > NAMED else ""
    return (", ".join(ids[:NAMED]) + more) or "none"


async def check_callbacks(setup: Setup) -> AsyncIterator[Finding]:
    wanting = [name for name, one in setup.accounts.items() if one.capabilities.receipts is not Receipts.NONE]
    if setup.settings.public_url is not None:
        yield await one("public_url", _public_address(setup, setup.settings.public_url))
    elif wanting:
        cause = "There is no public address, so vendors cannot call back; statuses are polled where that is possible."
        yield Finding("callbacks", "warning", cause, "Set public_url.")
    for name in wanting:
        if setup.accounts[name].capabilities.receipts is Receipts.ACCOUNT and setup.settings.public_url is not None:
            yield _to_paste(setup, name)


def _to_paste(setup: Setup, account: str) -> Finding:
    if setup.key is None:
        cause = "The address to paste at the vendor is known once there is a secret key."
        return Finding(f"callbacks.{account}", "warning", cause, "Set secret_key, or start the bot once.")
    address = callback_address(setup.settings, setup.key, account)
    return Finding(f"callbacks.{account}", "ok", f"Paste this at the vendor: {address}")


async def _public_address(setup: Setup, address: str) -> Finding:
    """Ask for `/callbacks/` there, as a vendor would. What is between this machine and the vendor nobody can see."""
    try:
        http = Http(address, ASKING, 1.0, allow_private_hosts=setup.settings.allow_private_hosts)
    except ValueError as error:
        return Finding("public_url", "error", f"It {error}", "Set public_url to an address that vendors can reach.")
    asked = f"{address}callbacks/"
    try:
        answer = await http.call("GET", "callbacks/")
    except ProviderError as error:
        cause = f"Nothing answers at {asked} when asked from this machine ({error.detail or error})."
        fix = "Start the bot. If that stays so, check the name, the certificate, the proxy and the firewall."
        return Finding("public_url", "warning", cause, fix)
    finally:
        await http.aclose()
    if answer.status == 200 and answer.body == GREETING.encode():
        return Finding("public_url", "ok", f"A bellcrier answers at {asked} when asked from this machine.")
    cause = f"What answers at {asked} is no bellcrier (HTTP {answer.status})."
    fix = "Let the proxy pass /callbacks/ on to the bot's port, and /slack/ too if Slack calls over HTTP."
    return Finding("public_url", "error", cause, fix)
