"""Checks of the workspace: tokens, scopes, people and channels, asked at Slack."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field

from bot.config.manifest import scopes
from bot.config.settings import ApprovalSettings, Settings
from bot.doctor.findings import Finding, Setup, one
from bot.doctor.machine import clock
from bot.domain.people import Membership, membership_of
from bot.slack.client import UNREACHABLE, SlackClient, error_code, error_name
from bot.slack.directory import NOBODY, People

MOST_PEOPLE = 200  # who are looked at one by one


async def check_slack(setup: Setup) -> AsyncIterator[Finding]:
    if setup.client is None or setup.people is None:  # the settings' own finding
        return
    app_token = setup.settings.slack_app_token
    if app_token is not None:
        yield await one("slack.app_token", _app_token(setup.client, app_token.get_secret_value()))
    try:
        answer = await setup.client.auth_test()
    except UNREACHABLE as error:
        yield _no_token(error)
        return
    yield Finding("slack.token", "ok", f"Connected to {answer.get('team')} as {answer.get('user')}.")
    setup.people.workspace = setup.people.workspace or str(answer.get("team_id") or "")
    yield _scopes(answer.headers)
    yield clock(answer.headers)
    if setup.settings.approval.channel is not None:
        yield await one("approval.channel", _channel(setup.people, "approval.channel", setup.settings.approval.channel))
    if setup.settings.digest.channel is not None:
        yield await one("digest.channel", _channel(setup.people, "digest.channel", setup.settings.digest.channel))
    look = Standing(setup.client, setup.people)
    for name, ids in _named(setup.settings):
        if ids:
            yield await one(name, _people(look, name, ids))
    for name, approvers, quorum in _quorums(setup.settings.approval):
        if approvers:
            yield await one(name, _quorum(look, name, approvers, quorum))


def _no_token(error: BaseException) -> Finding:
    if error_code(error):
        cause = f"Slack does not take the token ({error_code(error)})."
        return Finding("slack.token", "error", cause, "Set SLACK_BOT_TOKEN to the token on the app's page.")
    cause = f"Slack cannot be reached ({error_name(error)})."
    return Finding("slack.token", "error", cause, "Check the network, a proxy on the way, and SLACK_API_URL.")


async def _app_token(client: SlackClient, token: str) -> Finding:
    """Ask for the address of a socket, without opening one."""
    try:
        await client.apps_connections_open(app_token=token)
    except UNREACHABLE as error:
        cause = f"Slack does not take the app-level token ({error_name(error)})."
        fix = "Set SLACK_APP_TOKEN to one with the scope `connections:write`, from the app's page."
        return Finding("slack.app_token", "error", cause, fix)
    return Finding("slack.app_token", "ok", "Slack takes the app-level token.")


def _scopes(headers: Mapping[str, str]) -> Finding:
    """Compare what Slack grants to the token with what the manifest asks for."""
    told = next((str(value) for key, value in dict(headers).items() if key.lower() == "x-oauth-scopes"), None)
    if told is None:
        cause = "Slack did not say which scopes the token has."
        return Finding("slack.scopes", "warning", cause, "Compare them with `bellcrier manifest`.")
    granted = {scope.strip() for scope in told.split(",")}
    if missing := [scope for scope in scopes() if scope not in granted]:
        fix = "Give the app the manifest that `bellcrier manifest` prints, then install it again."
        return Finding("slack.scopes", "error", f"Missing scopes: {', '.join(missing)}.", fix)
    return Finding("slack.scopes", "ok", "Every scope is granted.")


async def _channel(people: People, name: str, channel: str) -> Finding:
    place = await people.place(channel)
    if place.postable:
        return Finding(name, "ok", "The bot can post there.")
    cause = f"The bot cannot post in {channel}: it is not in it, or it is archived, shared, or not there."
    fix = f"Invite the bot with `/invite @bellcrier`, or set {name} to another channel."
    return Finding(name, "error", cause, fix)


def _named(settings: Settings) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each setting that names people, and whom."""
    approval = settings.approval
    yield "admins", settings.admins
    yield "approval.approvers", approval.approvers
    for number, rule in enumerate(approval.rules, start=1):
        yield f"approval.rules.{number}.approvers", rule.approvers
    yield "approval.notify", approval.notify
    yield "approval.delegates", approval.delegates
    yield "approval.break_glass", approval.break_glass
    yield "notifications.watchers", settings.notifications.watchers
    for name, audience in settings.audiences.items():
        yield f"audiences.{name}.requesters", audience.requesters
        yield f"audiences.{name}.watchers", audience.watchers


@dataclass
class Standing:
    """Who may do something here, asked once for each person and group."""

    client: SlackClient
    people: People
    _known: dict[str, str | None] = field(default_factory=dict)

    async def why_not(self, user: str) -> str | None:
        """Return why this person may do nothing here; None if they may. Raises what Slack's client does."""
        if user not in self._known and len(self._known) < MOST_PEOPLE:
            self._known[user] = await self._ask(user)
        return self._known.get(user)

    async def _ask(self, user: str) -> str | None:
        try:
            profile = (await self.client.users_info(user=user)).get("user") or {}
        except UNREACHABLE as error:
            if error_code(error) in NOBODY:
                return "is nobody in this workspace"
            raise
        if membership_of(profile, self.people.workspace) is Membership.MEMBER:
            return None
        return next((why for name, why in WHY_NOT if profile.get(name) is True), "is no member of this workspace")

    async def able(self, id: str) -> tuple[frozenset[str], list[str]]:
        """Return the people of this user or group who may do something here, and why the others may not."""
        asked = sorted(await self.people.members(id)) if id.startswith("S") else [id]
        why = {user: await self.why_not(user) for user in asked}
        able = frozenset(user for user, reason in why.items() if reason is None)
        return able, [f"{user} {reason}" for user, reason in why.items() if reason is not None]


WHY_NOT = (
    ("deleted", "has left"),
    ("is_bot", "is a bot"),
    ("is_ultra_restricted", "is a guest"),
    ("is_restricted", "is a guest"),
    ("is_stranger", "is from another company"),
)


async def _people(look: Standing, name: str, ids: tuple[str, ...]) -> Finding:
    """Check that everybody whom this setting names can do what it lets them do."""
    whys, empty, able = list[str](), list[str](), set[str]()
    for id in ids:
        people, why = await look.able(id)
        able |= people
        whys += why
        if not people and id.startswith("S"):
            empty.append(f"{id} has no members who can do this, is disabled, or is not there")
    if empty or whys:
        cause = f"{'; '.join([*empty, *whys[:10]])}."
        fix = f"Take them out of {name}, or let an admin of Slack change what they are."
        named = {*ids} & {why.split()[0] for why in whys}
        return Finding(name, "error" if empty or named else "warning", cause, fix)
    return Finding(name, "ok", f"{len(able)} of them, and all are members here.")


def _quorums(approval: ApprovalSettings) -> Iterator[tuple[str, tuple[str, ...], int]]:
    """Yield the name, the approvers and the number of approvals of each rule that asks for some."""
    yield "approval.quorum", approval.approvers, approval.quorum
    for number, rule in enumerate(approval.rules, start=1):
        if rule.quorum:
            yield f"approval.rules.{number}.quorum", rule.approvers or approval.approvers, rule.quorum


async def _quorum(look: Standing, name: str, approvers: tuple[str, ...], quorum: int) -> Finding:
    """Check that enough people can approve: whoever asks for a broadcast never counts."""
    people = len({person for id in approvers for person in (await look.able(id))[0]})
    if people < quorum:
        wanted = f"{quorum} approval{'s' * (quorum > 1)}"
        able = f"only {people}" if people else "none"
        cause = f"It asks for {wanted}, and {able} of the named people can approve."
        return Finding(name, "error", cause, "Name more approvers, or ask for fewer approvals.")
    if people == quorum:
        all_are = f"All {people} approvers are" if people > 1 else "The only approver is"
        nobody = "none of them can" if people > 1 else "they cannot"
        cause = f"{all_are} needed, so {nobody} ask for a broadcast themselves."
        return Finding(name, "warning", cause, "Name one more approver.")
    return Finding(name, "ok", f"{people} people can approve, and it asks for {quorum}.")
